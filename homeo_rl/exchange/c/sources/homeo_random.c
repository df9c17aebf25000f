/* numpy's PCG64 and the seeding by its SeedSequence, without 128-bit integers. */
#include "homeo.h"

#define MULTIPLIER_HIGH UINT64_C(2549297995355413924)
#define MULTIPLIER_LOW UINT64_C(4865540595714422341)

static void multiply(uint64_t a, uint64_t b, uint64_t *high, uint64_t *low)
{
    uint64_t a0 = a & 0xffffffffu, a1 = a >> 32, b0 = b & 0xffffffffu, b1 = b >> 32;
    uint64_t low_part = a0 * b0, middle = a1 * b0 + (low_part >> 32), other = a0 * b1 + (middle & 0xffffffffu);

    *high = a1 * b1 + (middle >> 32) + (other >> 32);
    *low = (other << 32) | (low_part & 0xffffffffu);
}

static void advance(homeo_random *r)
{
    uint64_t high, low;

    multiply(r->state_low, MULTIPLIER_LOW, &high, &low);
    high += r->state_high * MULTIPLIER_LOW + r->state_low * MULTIPLIER_HIGH;
    r->state_low = low + r->increment_low;
    r->state_high = high + r->increment_high + (r->state_low < low ? 1u : 0u);
}

static uint32_t hash_mix(uint32_t value, uint32_t *constant)
{
    value ^= *constant;
    *constant *= 0x931e8875u;
    value *= *constant;
    return value ^ (value >> 16);
}

static uint32_t mix(uint32_t x, uint32_t y)
{
    uint32_t result = x * 0xca01f9ddu - y * 0x4973f715u;

    return result ^ (result >> 16);
}

/* Eight words of SeedSequence(seed).generate_state(4, uint64). */
static void spread(uint64_t seed, uint32_t words[8])
{
    uint32_t pool[4], entropy[4] = {0, 0, 0, 0}, constant = 0x43b0d7e5u;
    int i, j;

    entropy[0] = (uint32_t)(seed & 0xffffffffu);
    entropy[1] = (uint32_t)(seed >> 32);
    for (i = 0; i < 4; i++) {
        pool[i] = hash_mix(entropy[i], &constant);
    }
    for (i = 0; i < 4; i++) {
        for (j = 0; j < 4; j++) {
            if (i != j) {
                pool[j] = mix(pool[j], hash_mix(pool[i], &constant));
            }
        }
    }
    constant = 0x8b51f9ddu;
    for (i = 0; i < 8; i++) {
        uint32_t value = pool[i % 4] ^ constant;

        constant *= 0x58f38dedu;
        value *= constant;
        words[i] = value ^ (value >> 16);
    }
}

void homeo_random_seed(homeo_random *r, uint64_t seed)
{
    uint32_t words[8];
    uint64_t numbers[4];
    uint64_t before;
    int i;

    spread(seed, words);
    for (i = 0; i < 4; i++) {
        numbers[i] = (uint64_t)words[2 * i] | ((uint64_t)words[2 * i + 1] << 32);
    }
    r->increment_high = (numbers[2] << 1) | (numbers[3] >> 63);
    r->increment_low = (numbers[3] << 1) | 1u;
    r->state_high = r->state_low = 0;
    advance(r);
    before = r->state_low;
    r->state_low += numbers[1];
    r->state_high += numbers[0] + (r->state_low < before ? 1u : 0u);
    advance(r);
    r->kept = r->has_kept = 0;
}

uint64_t homeo_random_word(homeo_random *r)
{
    uint64_t value;
    unsigned turn;

    advance(r);
    value = r->state_high ^ r->state_low;
    turn = (unsigned)(r->state_high >> 58);
    return (value >> turn) | (value << ((64u - turn) & 63u));
}

uint32_t homeo_random_bits(homeo_random *r)
{
    uint64_t value;

    if (r->has_kept) {
        r->has_kept = 0;
        return r->kept;
    }
    value = homeo_random_word(r);
    r->kept = (uint32_t)(value >> 32);
    r->has_kept = 1;
    return (uint32_t)(value & 0xffffffffu);
}

#ifndef HOMEO_NO_FLOAT
float homeo_random_float(homeo_random *r)
{
    return (float)(homeo_random_bits(r) >> 8) * (1.0f / 16777216.0f);
}

double homeo_random_double(homeo_random *r)
{
    return (double)(homeo_random_word(r) >> 11) * (1.0 / 9007199254740992.0);
}
#endif

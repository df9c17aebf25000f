/* Hostile observations, seeds, damage and slices in any order, for sanitizers: what comes back must be finite. */
#include "RECORDED_NAME.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static homeo_word memory[HOMEO_WORDS(RECORDED_MEMORY)];
static homeo controller;

static float hostile(homeo_random *random)
{
    static const float values[8] = {0.0f, -0.0f, 1e15f, -1e15f, 1e-40f, 3.4e38f, 1.0f, -1.0f};
    const uint32_t draw = homeo_random_bits(random);

    if (draw % 97 == 0) {
        return (float)NAN;
    }
    if (draw % 89 == 0) {
        return draw & 1024u ? (float)INFINITY : -(float)INFINITY;
    }
    return draw % 7 == 0 ? values[draw >> 8 & 7u] : 8.0f * homeo_random_float(random) - 4.0f;
}

int main(int count, char **words)
{
    const long decisions = count > 1 ? atol(words[1]) : 1000;
    const homeo_policy *p = &RECORDED_NAME;
    homeo_real x[RECORDED_INPUTS], a[RECORDED_ACTIONS];
    homeo_random random;
    homeo_alarm alarm;
    long i, acted = 0;
    int k;

    if (homeo_init(&controller, p, memory, sizeof memory, HOMEO_WRITABLE) != HOMEO_OK) {
        return 1;
    }
    homeo_random_seed(&random, 11);
    homeo_reset(&controller, 0);
    for (i = 0; i < decisions; i++) {
        const uint32_t draw = homeo_random_bits(&random);
        const int layer = (int)(draw % 5u) - 1; /* also layers that there are not */

        for (k = 0; k < RECORDED_INPUTS; k++) {
            x[k] = hostile(&random);
        }
        if (draw % 5 < 2 && homeo_observe(&controller, x) == HOMEO_DUE) {
            for (k = 0; k < (draw % 200 == 0 ? 20000 : 40) && homeo_rehearse_step(&controller) == HOMEO_BUSY; k++) {
            }
        }
        if (homeo_read_alarm(&controller, &alarm) == HOMEO_OK && !isfinite(alarm.rejected[0] + alarm.shift[0])) {
            return 3;
        }
        if (homeo_act(&controller, x, a) == HOMEO_OK) {
            acted++;
            for (k = 0; k < RECORDED_ACTIONS; k++) {
                if (!isfinite(a[k])) {
                    return 2;
                }
            }
        }
        homeo_damage_weight(&controller, layer, (int)(draw >> 4 & 63u) - 1, (int)(draw >> 10 & 63u) - 1,
                            draw % 3 ? R_VALUE(draw) : (homeo_real)hostile(&random));
        homeo_damage_neuron(&controller, layer, (int)(draw >> 16 & 63u) - 1, (int)(draw >> 22 & 3u));
        homeo_rates(&controller, layer);
        if (draw % 50 == 0 && homeo_selftest(&controller) == HOMEO_FAILED && draw % 1000 == 0) {
            homeo_sleep_start(&controller);
            for (k = 0; k < 400 && homeo_sleep_step(&controller) == HOMEO_BUSY; k++) {
            }
        }
        if (draw % 2000 == 1) {
            homeo_sleep(&controller);
        }
        if (draw % 300 == 2) {
            homeo_reset(&controller, draw);
        }
        if (draw % 300 == 3) {
            homeo_restart(&controller, draw);
        }
    }
    printf("%ld\n", acted);
    return 0;
}

/* One decision in integers. The Python package's exchange/c/integer.py computes the same numbers. */
#include "homeo_int.h"

#define ONE 65536
#define LEVEL 65470 /* 0.999, the threshold of the regular encoder */
#define MOST ((int64_t)1 << 30)
#define FARTHEST ((int64_t)1 << 21) /* 32, beyond which a receptive field answers 0 */

/* x / 2^n, rounded down: C leaves shifts of negative numbers to the compiler. */
static int64_t down(int64_t x, int32_t n)
{
    return x >= 0 ? x >> n : -((-x + ((int64_t)1 << n) - 1) >> n);
}

static int64_t divide(int64_t x, int32_t by)
{
    return x >= 0 ? x / by : -((-x + by - 1) / by);
}

static int32_t within(int64_t x, int64_t low, int64_t high)
{
    return (int32_t)(x < low ? low : x > high ? high : x);
}

static int64_t decay(int32_t factor, int32_t x)
{
    return down((int64_t)factor * x + (1 << 14), 15);
}

static int32_t *take(uint32_t **memory, size_t count)
{
    int32_t *result = (int32_t *)(void *)*memory;

    *memory += count;
    return result;
}

static int32_t widest_of(const homeo_int_policy *p)
{
    int32_t result = p->inputs > p->width ? p->inputs : p->width, i;

    for (i = 0; i < p->layers; i++) {
        result = p->layer[i].size > result ? p->layer[i].size : result;
    }
    return result + 1;
}

size_t homeo_int_memory(const homeo_int_policy *p)
{
    const size_t w = (size_t)widest_of(p), steps = (size_t)p->steps;

    return sizeof(uint32_t) * (6 * w + (size_t)p->outputs + 2 * steps + steps * w + (w + 3) / 4);
}

int homeo_int_init(homeo_int *h, const homeo_int_policy *p, uint32_t *memory, size_t bytes)
{
    h->ready = 0;
    h->policy = NULL;
    if (memory == NULL || homeo_int_memory(p) > bytes) {
        return HOMEO_NO_MEMORY;
    }
    h->policy = p;
    h->widest = widest_of(p);
    h->z = take(&memory, (size_t)h->widest);
    h->activity = take(&memory, (size_t)h->widest);
    h->u = take(&memory, (size_t)h->widest);
    h->v = take(&memory, (size_t)h->widest);
    h->product = take(&memory, (size_t)h->widest);
    h->count = take(&memory, (size_t)h->widest);
    h->output = take(&memory, (size_t)p->outputs);
    h->fired = take(&memory, 2 * (size_t)p->steps);
    h->place = (uint16_t *)(void *)take(&memory, (size_t)p->steps * (size_t)h->widest); /* two layers of 16 bits */
    h->spikes = (uint8_t *)(void *)take(&memory, ((size_t)h->widest + 3) / 4);
    return HOMEO_OK;
}

int homeo_int_reset(homeo_int *h, uint64_t seed)
{
    if (h->policy == NULL) {
        return HOMEO_NOT_READY;
    }
    homeo_random_seed(&h->random, seed);
    h->ready = 1;
    return HOMEO_OK;
}

/* A function from a table of 1,024 intervals of 2^step, x >= 0; `last` beyond it. */
static int32_t look_up(const int32_t *table, int64_t x, int32_t step, int32_t last)
{
    const int64_t place = x >> step, part = x & (((int64_t)1 << step) - 1);

    if (place >= 1024) {
        return last;
    }
    return (int32_t)(table[place] + down((table[place + 1] - table[place]) * part, step));
}

static void normalise(homeo_int *h, const int32_t *x)
{
    const homeo_int_policy *p = h->policy;
    int32_t n;

    for (n = 0; n < p->inputs; n++) {
        h->z[n] = x[n];
        if (p->shift != NULL) {
            const int64_t distance = within((int64_t)x[n] - p->shift[n], -2147483647, 2147483647);

            h->z[n] = within(down(distance * p->scale[n], 16), -p->clip, p->clip);
        }
    }
}

static int32_t activity_of(const homeo_int_policy *p, const int32_t *z, int32_t n)
{
    int64_t x;

    if (p->encoder == HOMEO_BERNOULLI) {
        x = n < p->inputs ? z[n] : -(int64_t)z[n - p->inputs];
        return within(down(x * p->inverse_span, 16), 0, ONE);
    }
    x = within((int64_t)z[n / (p->width / p->inputs)] - p->mean[n], -FARTHEST, FARTHEST);
    x = down(down(x * x, 16) * p->precision[n], 16);
    return look_up(p->exponential, x, 10, 0);
}

static void encode(homeo_int *h)
{
    const homeo_int_policy *p = h->policy;
    int32_t n, t;

    for (n = 0; n < p->width; n++) {
        h->activity[n] = activity_of(p, h->z, n);
        h->v[n] = 0;
    }
    for (t = 0; t < p->steps; t++) {
        uint16_t *place = h->place + (size_t)t * (size_t)h->widest;
        int32_t count = 0;

        for (n = 0; n < p->width; n++) {
            int fires;

            if (p->encoder == HOMEO_REGULAR) {
                h->v[n] += h->activity[n];
                fires = h->v[n] > LEVEL;
                h->v[n] -= fires ? LEVEL : 0;
            } else {
                fires = (int64_t)(homeo_random_bits(&h->random) >> 8) < (int64_t)h->activity[n] * 256;
            }
            if (fires) {
                place[count++] = (uint16_t)n;
            }
        }
        h->fired[t] = count;
    }
}

static void gather(homeo_int *h, const homeo_int_layer *l, const uint16_t *place, int32_t count)
{
    int32_t k, n;

    for (n = 0; n < l->size; n++) {
        h->product[n] = 0;
    }
    for (k = 0; k < count; k++) {
        const int16_t *row = l->weight + (size_t)place[k] * (size_t)l->size;

        for (n = 0; n < l->size; n++) {
            h->product[n] += row[n];
        }
    }
}

static void add_graded(homeo_int *h, const homeo_int_layer *l)
{
    int32_t k, n;

    for (n = 0; n < l->size; n++) {
        int64_t total = 0;

        for (k = 0; k < l->inputs; k++) {
            total += (int64_t)l->weight[(size_t)k * (size_t)l->size + (size_t)n] * h->z[k];
        }
        h->product[n] = within(down(total, 16), -MOST, MOST);
    }
}

static void step(homeo_int *h, const homeo_int_layer *l, int fires, uint16_t *place, int32_t *fired)
{
    const homeo_int_policy *p = h->policy;
    int32_t n, count = 0;

    for (n = 0; n < l->size; n++) {
        const int64_t x = (int64_t)h->product[n] + l->bias[n];
        int64_t v = h->v[n];

        if (p->neuron == HOMEO_CURRENT_LIF) {
            h->u[n] = within(decay(p->current_decay, h->u[n]) + x, -MOST, MOST);
            v = (h->spikes[n] ? 0 : decay(p->voltage_decay, h->v[n])) + h->u[n];
        } else if (p->neuron == HOMEO_IF) {
            v += x;
        } else if (p->neuron == HOMEO_LIF) {
            v += decay(l->leak, within(x - v, -MOST, MOST));
        } else {
            v += x - decay(l->leak, h->v[n]);
        }
        h->v[n] = within(v, -MOST, MOST);
        if (!fires) {
            continue;
        }
        h->spikes[n] = p->neuron == HOMEO_CURRENT_LIF ? h->v[n] > l->threshold : h->v[n] >= l->threshold;
        if (h->spikes[n]) {
            place[count++] = (uint16_t)n;
            h->count[n]++;
            if (p->neuron != HOMEO_CURRENT_LIF) {
                h->v[n] = p->hard ? 0 : h->v[n] - l->threshold;
            }
        }
    }
    *fired = count;
}

static void run_layer(homeo_int *h, int32_t i)
{
    const homeo_int_policy *p = h->policy;
    const homeo_int_layer *l = &p->layer[i];
    const size_t half = (size_t)p->steps * (size_t)h->widest;
    uint16_t *from = h->place + (i % 2 ? half : 0), *to = h->place + (i % 2 ? 0 : half);
    int32_t *fired = h->fired + (i % 2 ? p->steps : 0), *firing = h->fired + (i % 2 ? 0 : p->steps);
    const int graded = i == 0 && p->encoder == HOMEO_CONSTANT;
    const int fires = p->readout != HOMEO_MEMBRANE || i < p->layers - 1;
    int32_t n, t;

    for (n = 0; n < l->size; n++) {
        h->u[n] = h->count[n] = 0;
        h->v[n] = l->initial == NULL ? 0 : l->initial[n];
        h->spikes[n] = 0;
    }
    for (t = 0; t < p->steps; t++) {
        if (graded && t == 0) {
            add_graded(h, l);
        } else if (!graded) {
            gather(h, l, from + (size_t)t * (size_t)h->widest, fired[t]);
        }
        step(h, l, fires, to + (size_t)t * (size_t)h->widest, &firing[t]);
    }
}

static void read_out(homeo_int *h)
{
    const homeo_int_policy *p = h->policy;
    const homeo_int_layer *l = &p->layer[p->layers - 1];
    const int32_t size = l->size / p->outputs;
    int32_t k, n;

    for (k = 0; k < p->outputs; k++) {
        int64_t y = 0;

        if (p->readout == HOMEO_POPULATION) {
            for (n = k * size; n < (k + 1) * size; n++) {
                y += (int64_t)h->count[n] * p->readout_weight[n];
            }
            y = divide(y, p->steps) + p->readout_bias[k];
        } else if (p->readout == HOMEO_MEAN) {
            y = down(p->gain * (divide((int64_t)2 * ONE * h->count[k], p->steps) - ONE), 16);
        } else if (p->readout == HOMEO_LAST) {
            y = h->spikes[k] ? p->gain : -p->gain;
        } else {
            y = down((int64_t)h->v[k] * ONE, l->shift);
        }
        h->output[k] = within(y, -2147483647, 2147483647);
    }
}

static int32_t largest(const int32_t *y, int32_t count)
{
    int32_t k, best = 0;

    for (k = 1; k < count; k++) {
        best = y[k] > y[best] ? k : best;
    }
    return best;
}

static void squash(const homeo_int *h, int32_t *action)
{
    const homeo_int_policy *p = h->policy;
    int32_t k;

    if (p->squash == HOMEO_CHOICE) {
        action[0] = largest(h->output, p->outputs);
        return;
    }
    for (k = 0; k < p->actions; k++) {
        int64_t y = p->squash == HOMEO_BINS ? 0 : h->output[k];

        if (p->squash == HOMEO_CLIP) {
            action[k] = within(y, p->low[k], p->high[k]);
            continue;
        }
        if (p->squash == HOMEO_BINS) {
            y = p->values[largest(h->output + (size_t)k * (size_t)p->bins, p->bins)];
        } else if (p->squash == HOMEO_TANH) {
            y = y < 0 ? -(int64_t)look_up(p->tangent, -y, 9, ONE) : look_up(p->tangent, y, 9, ONE);
        } else {
            y = within(y, -ONE, ONE);
        }
        action[k] = within(down(y * p->half[k], 16) + p->middle[k], p->low[k], p->high[k]);
    }
}

int homeo_int_act(homeo_int *h, const int32_t *observation, int32_t *action)
{
    int32_t i;

    if (h->policy == NULL || !h->ready) {
        return HOMEO_NOT_READY;
    }
    normalise(h, observation);
    if (h->policy->encoder != HOMEO_CONSTANT) {
        encode(h);
    }
    for (i = 0; i < h->policy->layers; i++) {
        run_layer(h, i);
    }
    read_out(h);
    squash(h, action);
    return HOMEO_OK;
}

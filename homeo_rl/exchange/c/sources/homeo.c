/* Memory, episodes, and one decision. The equations and the order of sums are those of the Python package's
 * snn/kernels/decision_kernel.py, to which the tests hold this file. */
#include "homeo_internal.h"

#define LIMIT R(1e15) /* no sensor gives more */
#define DECISIONS_BETWEEN_CHECKS 20

/* Memory ------------------------------------------------------------------------------------------------------- */

typedef struct {
    unsigned char *next; /* null: only count */
    size_t used;
} arena;

static void *take(arena *a, size_t count, size_t size)
{
    size_t bytes = (count * size + sizeof(homeo_word) - 1) / sizeof(homeo_word) * sizeof(homeo_word);
    void *result = a->next;

    if (a->next != NULL) {
        a->next += bytes;
    }
    a->used += bytes;
    return result;
}

static homeo_real *reals(arena *a, size_t count)
{
    return (homeo_real *)take(a, count, sizeof(homeo_real));
}

static int32_t widest_of(const homeo_policy *p)
{
    int32_t result = MAX(p->inputs, p->width), i;

    for (i = 0; i < p->layers; i++) {
        result = MAX(result, p->layer[i].size);
    }
    return result + 1; /* a place is written before it is known whether the neuron fires */
}

int homeo_fires(const homeo_policy *p, int layer)
{
    return p->readout != HOMEO_MEMBRANE || layer < p->layers - 1;
}

static void lay_out_net(arena *a, const homeo_policy *p, homeo_net *net)
{
    int i;

    for (i = 0; i < p->layers; i++) {
        size_t size = (size_t)p->layer[i].size;

        if ((p->rules & HOMEO_BCM) && homeo_fires(p, i)) {
            net->delta[i] = reals(a, size * (size_t)p->layer[i].inputs);
            net->mean[i] = reals(a, size);
            net->square[i] = reals(a, size);
        }
        if ((p->rules & HOMEO_ENERGY) && homeo_fires(p, i)) {
            net->energy[i] = reals(a, size);
        }
        if (p->episode_membranes) {
            net->current[i] = reals(a, size);
            net->potential[i] = reals(a, size);
            net->spikes[i] = reals(a, size);
        }
    }
}

/* Healthy models, what they answer in dreams, and what fits work on: matrices [inputs + 1][size], biases last. */
static void lay_out_competition(arena *a, const homeo_policy *p, homeo *h)
{
    size_t most = 0, rows = 0;
    int i;

    for (i = 0; i < p->layers; i++) {
        const size_t size = (size_t)p->layer[i].size, with_bias = (size_t)p->layer[i].inputs + 1u;

        most = MAX(most, with_bias * size);
        rows = MAX(rows, with_bias);
        h->model[i] = reals(a, with_bias * size);
        if (homeo_fires(p, i)) {
            h->dream[i] = (uint8_t *)take(a, (size_t)p->dreams, homeo_row_bytes(p, p->layer[i].size));
        } else {
            h->dream_potential = reals(a, (size_t)p->dreams * (size_t)p->steps * size);
        }
    }
    h->fit = reals(a, most);
    h->push = reals(a, most);
    h->ahead = reals(a, most);
    h->direction = reals(a, most);
    h->gram = reals(a, rows * (rows + 1u) / 2u);
    if (p->steps <= HOMEO_FORCED_STEPS) {
        h->path[0] = reals(a, (size_t)p->steps * (size_t)h->widest);
        h->path[1] = reals(a, (size_t)p->steps * (size_t)h->widest);
    }
}

static void lay_out_memory_of_sleep(arena *a, const homeo_policy *p, homeo *h, size_t most)
{
    int i;

    h->sums = reals(a, (size_t)SUM_ROWS * (size_t)h->widest);
    for (i = 0; i < p->layers; i++) {
        size_t size = (size_t)p->layer[i].size;

        if (homeo_fires(p, i)) {
            h->answer[i] = (uint8_t *)take(a, (size_t)p->observations, homeo_row_bytes(p, p->layer[i].size));
        } else {
            h->target[i] = reals(a, (size_t)p->observations * size);
        }
        if (p->form != HOMEO_FORM_NONE) {
            h->next_weight[i] = reals(a, size * (size_t)p->layer[i].inputs);
            h->next_bias[i] = reals(a, size);
        }
    }
    if (p->form == HOMEO_FORM_DELTA) {
        h->push = reals(a, most);
    }
    if (p->form != HOMEO_FORM_NONE) {
        const size_t rows = (size_t)p->observations + (p->form == HOMEO_FORM_BEST ? (size_t)p->dreams : 0u);

        for (i = 0; i < 2; i++) {
            h->received[i] = (uint8_t *)take(a, rows, homeo_row_bytes(p, h->widest));
        }
    }
    if (p->form == HOMEO_FORM_BEST) {
        lay_out_competition(a, p, h);
    }
    if (p->rates > 0) {
        lay_out_net(a, p, &h->trial);
    }
}

static void lay_out_observed(arena *a, const homeo_policy *p, homeo_observed *o)
{
    const homeo_senses *s = p->senses;
    const size_t entries = (size_t)p->inputs, row = (size_t)s->row;

    o->row = (double *)take(a, row, sizeof(double));
    if (s->windows > 0) {
        o->judged = (double *)take(a, row, sizeof(double));
        o->rehearsed = (double *)take(a, row, sizeof(double));
    }
    o->full = (double *)take(a, (size_t)s->numbers, sizeof(double));
    o->first = (double *)take(a, 2u * entries, sizeof(double));
    o->work = (float *)take(a, (size_t)s->floats, sizeof(float));
    o->last = (float *)take(a, (size_t)p->actions, sizeof(float));
    o->out = (float *)take(a, entries, sizeof(float));
    o->now = (float *)take(a, entries, sizeof(float));
    o->measured = (float *)take(a, entries, sizeof(float));
    o->estimate = (float *)take(a, entries, sizeof(float));
    o->seen = reals(a, entries);
    o->verdict = (homeo_verdict *)take(a, 1, sizeof(homeo_verdict));
}

static const homeo nothing = {0};

static size_t lay_out(homeo *h, const homeo_policy *p, homeo_word *memory, int flags)
{
    arena a = {NULL, 0};
    size_t all = (size_t)p->width, most = 0;
    int i;

    /* Cleared as a whole: GCC 12 (-O3, tuned for AMD) moves single NULLs of the loops below behind their pointers. */
    *h = nothing;
    a.next = (unsigned char *)memory;
    h->policy = p;
    h->flags = flags;
    h->widest = widest_of(p);
    lay_out_net(&a, p, &h->live);
    for (i = 0; i < p->layers; i++) {
        size_t size = (size_t)p->layer[i].size, weights = size * (size_t)p->layer[i].inputs;

        all += size;
        most = MAX(most, weights);
        if ((flags & HOMEO_WRITABLE) || (p->sleeps && p->form != HOMEO_FORM_NONE)) {
            h->weight[i] = reals(&a, weights);
            h->bias[i] = reals(&a, size);
            h->flag[i] = (uint8_t *)take(&a, size, 1);
        }
    }
    h->rate = reals(&a, all);
    h->output = reals(&a, (size_t)p->outputs);
    h->scratch = reals(&a, (size_t)SCRATCH_ROWS * (size_t)h->widest);
    for (i = 0; i < 2; i++) {
        h->events[i].place = (uint16_t *)take(&a, (size_t)p->steps * (size_t)h->widest, sizeof(uint16_t));
        h->events[i].count = (int32_t *)take(&a, (size_t)p->steps, sizeof(int32_t));
    }
    if (p->reflex != NULL) {
        h->reflex_potential = reals(&a, (size_t)p->reflex->neurons);
        h->reflex_past = reals(&a, (size_t)(1 + p->reflex->reach) * (size_t)(1 + p->reflex->lines + p->reflex->neurons));
    }
    if (p->sleeps) {
        lay_out_memory_of_sleep(&a, p, h, most);
    }
    h->senses = flags & HOMEO_UNOBSERVED ? NULL : p->senses;
    if (h->senses != NULL) {
        lay_out_observed(&a, p, &h->observed);
    }
    return a.used;
}

size_t homeo_memory(const homeo_policy *policy, int flags)
{
    homeo h;

    return lay_out(&h, policy, NULL, flags);
}

int homeo_init(homeo *h, const homeo_policy *policy, homeo_word *memory, size_t bytes, int flags)
{
    *h = nothing;
    if (policy->layers > HOMEO_MAX_LAYERS || memory == NULL || lay_out(h, policy, NULL, flags) > bytes) {
        *h = nothing;
        return HOMEO_NO_MEMORY;
    }
    lay_out(h, policy, memory, flags);
    return HOMEO_OK;
}

/* Episodes ----------------------------------------------------------------------------------------------------- */

int homeo_finite(const homeo_real *values, size_t count)
{
    size_t n;

    for (n = 0; n < count; n++) {
        if (!isfinite(values[n])) {
            return 0;
        }
    }
    return 1;
}

/* Put the membranes of a layer to rest. */
void homeo_rest(const homeo_layer *l, homeo_real *u, homeo_real *v, homeo_real *s)
{
    int32_t n;

    for (n = 0; n < l->size; n++) {
        u[n] = s[n] = R(0);
        v[n] = l->initial == NULL ? R(0) : l->initial[n];
    }
}

/* Start the mechanism of a layer again, and its membranes where they outlive a decision. */
void homeo_begin_adaptation(const homeo *h, homeo_net *net, int layer)
{
    const homeo_policy *p = h->policy;
    const homeo_layer *l = &p->layer[layer];
    int32_t n;
    size_t k;

    if (net->delta[layer] != NULL) {
        for (k = 0; k < (size_t)l->size * (size_t)l->inputs; k++) {
            net->delta[layer][k] = R(0);
        }
        for (n = 0; n < l->size; n++) {
            net->mean[layer][n] = l->rate[n];
            net->square[layer][n] = l->square[n];
        }
    }
    if (net->energy[layer] != NULL) {
        for (n = 0; n < l->size; n++) {
            net->energy[layer][n] = p->energy;
        }
    }
}

/* Forget what was seen: an episode begins. */
static void begin_observed(const homeo_policy *p, homeo_observed *o)
{
    static const homeo_verdict none = {0};
    int32_t k;

    for (k = 0; k < p->senses->row; k++) {
        o->row[k] = 0.0;
    }
    o->row[HOMEO_AT_GATE] = 1.0;
    *o->verdict = none;
}

static void begin_all(homeo *h)
{
    int i;

    h->live.eta = R(0);
    h->live.grown = 0;
    for (i = 0; i < h->policy->layers; i++) {
        homeo_begin_adaptation(h, &h->live, i);
        if (h->policy->episode_membranes) {
            homeo_rest(&h->policy->layer[i], h->live.current[i], h->live.potential[i], h->live.spikes[i]);
        }
    }
}

int homeo_restart(homeo *h, uint64_t seed)
{
    if (h->policy == NULL || !h->ready) {
        return HOMEO_NOT_READY;
    }
    h->job.kind = 0;
    h->decisions = h->age = 0;
    h->rolled_back = 0;
    if (h->policy->rates > 0) { /* what a rehearsal learned is forgotten: the next self-test is that of a first episode */
        h->awake = 0;
        h->sleep_count = h->tested = 0;
    }
    begin_all(h);
    if (h->policy->reflex != NULL) {
        homeo_rest_reflex(h);
    }
    if (h->senses != NULL) {
        begin_observed(h->policy, &h->observed);
    }
    homeo_random_seed(&h->random, seed);
    homeo_clear_rates(h);
    return HOMEO_OK;
}

int homeo_reset(homeo *h, uint64_t seed)
{
    const homeo_policy *p = h->policy;
    int i;

    if (p == NULL) {
        return HOMEO_NOT_READY;
    }
    for (i = 0; i < p->layers; i++) {
        size_t k, weights = (size_t)p->layer[i].size * (size_t)p->layer[i].inputs;
        int32_t n;

        h->change[i] = R(0);
        h->live.weight[i] = p->layer[i].weight;
        h->live.bias[i] = p->layer[i].bias;
        if (h->weight[i] == NULL) {
            continue;
        }
        for (k = 0; k < weights; k++) {
            h->weight[i][k] = p->layer[i].weight[k];
        }
        for (n = 0; n < p->layer[i].size; n++) {
            h->bias[i][n] = p->layer[i].bias[n];
            h->flag[i][n] = HOMEO_ALIVE;
        }
        h->live.weight[i] = h->weight[i];
        h->live.bias[i] = h->bias[i];
    }
    h->awake = 0;
    h->sleep_count = h->tested = 0;
    h->ready = 1;
    return homeo_restart(h, seed);
}

void homeo_clear_rates(homeo *h)
{
    int32_t n, all = h->policy->width, i;

    for (i = 0; i < h->policy->layers; i++) {
        all += h->policy->layer[i].size;
    }
    for (n = 0; n < all; n++) {
        h->rate[n] = R(0);
    }
}

const homeo_real *homeo_rates(const homeo *h, int layer)
{
    const homeo_real *rate = h->rate;
    int i;

    if (h->policy == NULL || layer < -1 || layer >= h->policy->layers) {
        return NULL;
    }
    for (i = -1; i < layer; i++) {
        rate += i < 0 ? h->policy->width : h->policy->layer[i].size;
    }
    return rate;
}

/* Encoders ----------------------------------------------------------------------------------------------------- */

static void normalise(const homeo_policy *p, const homeo_real *x, homeo_real *z)
{
    int32_t n;

    for (n = 0; n < p->inputs; n++) {
        z[n] = x[n];
        if (p->shift != NULL) {
            z[n] = (x[n] - p->shift[n]) / p->scale[n];
            z[n] = MIN(MAX(z[n], -p->clip), p->clip);
        }
    }
}

static homeo_real activity_of(const homeo_policy *p, const homeo_real *z, int32_t n)
{
    homeo_real value, spread;

    if (p->encoder == HOMEO_BERNOULLI) {
        value = (n < p->inputs ? z[n] : -z[n - p->inputs]) / p->span;
        return MIN(MAX(value, R(0)), R(1));
    }
    value = z[n / (p->width / p->inputs)] - p->mean[n];
    spread = MAX(p->std[n], R(1e-2));
    return EXP(R(-0.5) * (value * value) / (spread * spread));
}

static void encode(homeo *h, const homeo_real *z)
{
    const homeo_policy *p = h->policy;
    homeo_real *activity = h->scratch + ROW_ACTIVITY * h->widest, *potential = h->scratch + ROW_PRODUCT * h->widest;
    homeo_real *rate = h->rate;
    const homeo_real level = R(0.999);
    int32_t n, t;

    for (n = 0; n < p->width; n++) {
        rate[n] = p->encoder == HOMEO_CONSTANT ? z[n] : R(0);
        potential[n] = R(0);
        if (p->encoder != HOMEO_CONSTANT) {
            activity[n] = activity_of(p, z, n);
        }
    }
    if (p->encoder == HOMEO_CONSTANT) {
        return;
    }
    for (t = 0; t < p->steps; t++) {
        uint16_t *place = h->events[0].place + (size_t)t * (size_t)h->widest;
        int32_t count = 0;

        for (n = 0; n < p->width; n++) {
            int fired;

            if (p->encoder == HOMEO_REGULAR) {
                potential[n] += activity[n];
                fired = potential[n] > level;
            } else {
                fired = R(homeo_random_float(&h->random)) < activity[n];
            }
            if (fired) {
                potential[n] -= level;
                rate[n] += R(1);
                place[count++] = (uint16_t)n;
            }
        }
        h->events[0].count[t] = count;
    }
    for (n = 0; n < p->width; n++) {
        rate[n] /= R(p->steps);
    }
}

/* Layers ------------------------------------------------------------------------------------------------------- */

/* Add the weight rows of the neurons that fired, in order; four at a time, for the sake of the cache. */
static void gather(homeo_real *restrict current, const homeo_run *run, const uint16_t *place, int32_t count)
{
    const size_t size = (size_t)run->layer->size;
    const homeo_real *restrict w = run->weight, *restrict d = run->delta;
    int32_t k = 0;
    size_t n;

    for (; k + 4 <= count; k += 4) {
        const size_t a = place[k] * size, b = place[k + 1] * size, c = place[k + 2] * size, e = place[k + 3] * size;

        if (d != NULL) {
            for (n = 0; n < size; n++) {
                current[n] = (((current[n] + (w[a + n] + d[a + n])) + (w[b + n] + d[b + n])) + (w[c + n] + d[c + n])) +
                             (w[e + n] + d[e + n]);
            }
        } else {
            for (n = 0; n < size; n++) {
                current[n] = (((current[n] + w[a + n]) + w[b + n]) + w[c + n]) + w[e + n];
            }
        }
    }
    for (; k < count; k++) {
        const size_t a = place[k] * size;

        for (n = 0; n < size; n++) {
            current[n] += d != NULL ? w[a + n] + d[a + n] : w[a + n];
        }
    }
}

static void add_graded(homeo_real *restrict current, const homeo_run *run)
{
    const size_t size = (size_t)run->layer->size;
    const homeo_real *restrict w = run->weight, *restrict d = run->delta;
    int32_t k;
    size_t n;

    for (k = 0; k < run->layer->inputs; k++) {
        const size_t a = (size_t)k * size;
        const homeo_real value = run->graded[k];

        for (n = 0; n < size; n++) {
            current[n] += (d != NULL ? w[a + n] + d[a + n] : w[a + n]) * value;
        }
    }
}

static homeo_real lower_mean(const homeo_real *values, int32_t size)
{
    homeo_real low = values[0], high = values[0], total = R(0);
    int32_t n;

    for (n = 0; n < size; n++) {
        low = MIN(low, values[n]);
        high = MAX(high, values[n]);
        total += values[n];
    }
    return total / R(size) - R(0.2) * (high - low);
}

static void energy_thresholds(homeo_real psi, homeo_real *energy, const homeo_real *before, const homeo_real *v,
                              homeo_real *threshold, int32_t size)
{
    homeo_real middle, level;
    int32_t n;

    for (n = 0; n < size; n++) {
        homeo_real temporal = EXP(MIN((before[n] - v[n]) / R(3), R(60))) - R(1);

        threshold[n] = R(0.5) * energy[n] + R(0.5) * temporal;
    }
    middle = lower_mean(v, size);
    level = lower_mean(threshold, size);
    for (n = 0; n < size; n++) {
        homeo_real rise = v[n] - middle;

        energy[n] = R(0.01) * rise + level + LOG1P(EXP(MIN(rise / psi, R(60))));
    }
}

/* One plain loop a neuron model: a choice inside the loop would keep the compiler from using vectors. */
static void integrate(const homeo_run *run, const homeo_real *restrict product)
{
    const homeo_policy *p = run->policy;
    const homeo_real current_decay = p->current_decay, voltage_decay = p->voltage_decay, tau = run->layer->tau;
    const homeo_real *restrict bias = run->bias, *restrict s = run->s;
    homeo_real *restrict u = run->u, *restrict v = run->v;
    const int32_t size = run->layer->size;
    int32_t n;

    if (p->neuron == HOMEO_CURRENT_LIF) {
        for (n = 0; n < size; n++) {
            u[n] = current_decay * u[n] + (product[n] + bias[n]);
            v[n] = voltage_decay * v[n] * (R(1) - s[n]) + u[n];
        }
    } else if (p->neuron == HOMEO_IF) {
        for (n = 0; n < size; n++) {
            u[n] = product[n] + bias[n];
            v[n] = v[n] + u[n];
        }
    } else if (p->neuron == HOMEO_LIF) {
        for (n = 0; n < size; n++) {
            u[n] = product[n] + bias[n];
            v[n] = v[n] + (u[n] - v[n]) / tau;
        }
    } else {
        for (n = 0; n < size; n++) {
            u[n] = product[n] + bias[n];
            v[n] = v[n] - v[n] / tau + u[n];
        }
    }
}

/* Spikes of one step as numbers [size]. */
void homeo_spread(const homeo_events *events, int32_t t, int32_t widest, homeo_real *s, int32_t size)
{
    const uint16_t *place = events->place + (size_t)t * (size_t)widest;
    int32_t n;

    for (n = 0; n < size; n++) {
        s[n] = R(0);
    }
    for (n = 0; n < events->count[t]; n++) {
        s[place[n]] = R(1);
    }
}

static void reset(const homeo_run *run, const homeo_real *restrict threshold)
{
    const homeo_policy *p = run->policy;
    const homeo_real *restrict s = run->s;
    homeo_real *restrict v = run->v;
    const int32_t size = run->layer->size;
    int32_t n;

    if (p->neuron != HOMEO_CURRENT_LIF && p->hard) {
        for (n = 0; n < size; n++) {
            v[n] = v[n] * (R(1) - s[n]);
        }
    } else if (p->neuron != HOMEO_CURRENT_LIF) {
        for (n = 0; n < size; n++) {
            v[n] = v[n] - s[n] * threshold[n];
        }
    }
}

static void fire(const homeo_run *run, const homeo_real *restrict threshold, int32_t t)
{
    const homeo_policy *p = run->policy;
    const homeo_real *restrict v = run->v;
    homeo_real *restrict s = run->s;
    const int32_t size = run->layer->size;
    uint16_t *place = run->out->place + (size_t)t * (size_t)run->widest;
    int32_t n, count = 0;

    if (p->neuron == HOMEO_CURRENT_LIF) {
        for (n = 0; n < size; n++) {
            s[n] = v[n] - threshold[n] > R(0) ? R(1) : R(0);
        }
    } else {
        for (n = 0; n < size; n++) {
            s[n] = v[n] - threshold[n] >= R(0) ? R(1) : R(0);
        }
    }
    for (n = 0; run->flag != NULL && n < size; n++) {
        s[n] = run->flag[n] == HOMEO_DEAD ? R(0) : run->flag[n] == HOMEO_STUCK ? R(1) : s[n];
    }
    for (n = 0; n < size; n++) {
        run->rate[n] += s[n];
        place[count] = (uint16_t)n;
        count += s[n] > R(0);
    }
    run->out->count[t] = count;
}

void homeo_run_layer(const homeo_run *run, homeo_real *scratch)
{
    const homeo_policy *p = run->policy;
    const int32_t size = run->layer->size;
    homeo_real *product = scratch + ROW_PRODUCT * run->widest, *before = scratch + ROW_BEFORE * run->widest;
    homeo_real *threshold = scratch + ROW_THRESHOLD * run->widest, *total = scratch + ROW_TOTAL * run->widest;
    homeo_run scaled = *run;
    int32_t n, t;

    for (n = 0; n < size; n++) {
        run->rate[n] = R(0);
        threshold[n] = run->linear ? R(0) : p->threshold;
        total[n] = run->share * run->bias[n];
    }
    scaled.bias = total; /* times 1 it is what it was */
    for (t = 0; t < p->steps; t++) {
        if (run->graded == NULL || t == 0) {
            for (n = 0; n < size; n++) {
                product[n] = R(0);
            }
            if (run->graded != NULL) {
                add_graded(product, run);
            } else {
                gather(product, run, run->in->place + (size_t)t * (size_t)run->widest, run->in->count[t]);
            }
            for (n = 0; run->scale != R(1) && n < size; n++) {
                product[n] = run->scale * product[n];
            }
        }
        for (n = 0; run->energy != NULL && n < size; n++) {
            before[n] = run->v[n];
        }
        integrate(&scaled, product);
        for (n = 0; run->potential != NULL && n < size; n++) {
            run->potential[n] += run->v[n];
        }
        for (n = 0; run->path != NULL && n < size; n++) {
            run->path[(size_t)t * (size_t)size + (size_t)n] = run->v[n];
        }
        if (!run->fires) {
            continue;
        }
        if (run->forced != NULL) {
            homeo_spread(run->forced, t, run->widest, run->s, size);
            reset(run, threshold);
            continue;
        }
        if (run->energy != NULL) {
            energy_thresholds(p->psi, run->energy, before, run->v, threshold, size);
        }
        fire(&scaled, threshold, t);
        reset(&scaled, threshold);
    }
}

/* Adaptation --------------------------------------------------------------------------------------------------- */

static void adapt(const homeo *h, homeo_net *net, int i, const homeo_real *pre, const homeo_real *post)
{
    const homeo_policy *p = h->policy;
    const homeo_layer *l = &p->layer[i];
    homeo_real *factor = h->scratch + ROW_PRODUCT * h->widest, *m = net->mean[i], *q = net->square[i];
    const homeo_real eta = p->rates > 0 ? net->eta : l->eta, bound = l->bound;
    int32_t n, k;

    for (n = 0; n < l->size; n++) {
        const homeo_real c = post[n];
        homeo_real phi;

        m[n] = m[n] + (c - m[n]) / p->window;
        q[n] = q[n] + (c * c - q[n]) / p->window;
        phi = c * (c - q[n] / l->reference[n]);
        if (p->zeta >= R(0)) {
            const homeo_real deviation = SQRT(MAX(q[n] - m[n] * m[n], R(0)));
            const homeo_real gain = p->zeta * deviation / MAX(m[n], R(1e-3));

            phi = phi * MIN(MAX(gain, R(0)), R(1));
        }
        phi = eta * phi;
        factor[n] = isfinite(phi) ? phi : R(0);
    }
    for (k = 0; eta != R(0) && k < l->inputs; k++) { /* shut, nothing would change */
        const homeo_real x = pre[k];
        homeo_real *restrict row = net->delta[i] + (size_t)k * (size_t)l->size;

        if (x == R(0) || !isfinite(x)) {
            continue;
        }
        for (n = 0; n < l->size; n++) {
            const homeo_real value = row[n] + factor[n] * x;
            const homeo_real raised = MAX(value, -bound);

            row[n] = MIN(raised, bound);
        }
    }
}

static homeo_real norm(const homeo_real *values, size_t count)
{
    homeo_real part[8] = {R(0), R(0), R(0), R(0), R(0), R(0), R(0), R(0)};
    size_t k, lane;

    for (k = 0; k + 8 <= count; k += 8) { /* eight sums side by side do not wait for each other */
        for (lane = 0; lane < 8; lane++) {
            part[lane] += values[k + lane] * values[k + lane];
        }
    }
    for (; k < count; k++) {
        part[0] += values[k] * values[k];
    }
    for (lane = 1; lane < 8; lane++) {
        part[0] += part[lane];
    }
    return SQRT(part[0]);
}

/* Roll back an adaptation that went wrong: moments that are not finite at every decision, and at the first of an
 * episode and each 20th after it weights of which the change is larger than ten times the trained ones. */
static void guard(homeo *h)
{
    const homeo_policy *p = h->policy;
    int i, wrong = 0;

    if (p->rules == 0) {
        return;
    }
    h->age += 1;
    for (i = 0; i < p->layers; i++) {
        const homeo_layer *l = &p->layer[i];
        const size_t size = (size_t)l->size;

        if (h->live.delta[i] != NULL) {
            wrong |= !homeo_finite(h->live.mean[i], size) || !homeo_finite(h->live.square[i], size);
            if (h->age % DECISIONS_BETWEEN_CHECKS == 1) {
                wrong |= !(norm(h->live.delta[i], size * (size_t)l->inputs) <= l->guard);
            }
        }
        if (h->live.energy[i] != NULL) {
            wrong |= !homeo_finite(h->live.energy[i], size);
        }
    }
    if (wrong) {
        begin_all(h);
        h->age = 0;
        h->rolled_back += 1;
    }
}

/* Read-outs and actions ---------------------------------------------------------------------------------------- */

/* Numbers [outputs] from spike counts, the last spikes and the last potentials of the last layer. */
void homeo_read_out(const homeo_policy *p, const homeo_real *count, const homeo_real *s, const homeo_real *v,
                    homeo_real *y)
{
    const int32_t size = p->layer[p->layers - 1].size / p->outputs;
    int32_t k, n;

    for (k = 0; k < p->outputs; k++) {
        if (p->readout == HOMEO_POPULATION) {
            homeo_real total = R(0);

            for (n = k * size; n < (k + 1) * size; n++) {
                total += count[n] / R(p->steps) * p->readout_weight[n];
            }
            y[k] = total + p->readout_bias[k];
        } else if (p->readout == HOMEO_MEAN) {
            y[k] = p->gain * (R(2) * (count[k] / R(p->steps)) - R(1));
        } else if (p->readout == HOMEO_LAST) {
            y[k] = p->gain * (R(2) * s[k] - R(1));
        } else {
            y[k] = v[k];
        }
    }
}

static int32_t largest(const homeo_real *y, int32_t count)
{
    int32_t k, best = 0;

    for (k = 1; k < count; k++) {
        best = y[k] > y[best] ? k : best;
    }
    return best;
}

void homeo_squash(const homeo_policy *p, const homeo_real *y, homeo_real *action)
{
    int32_t k;

    if (p->squash == HOMEO_CHOICE) {
        action[0] = R(largest(y, p->outputs));
        return;
    }
    for (k = 0; k < p->actions; k++) {
        homeo_real value = p->squash == HOMEO_BINS ? R(0) : y[k];

        if (p->squash == HOMEO_CLIP) {
            value = MAX(value, p->low[k]);
            action[k] = MIN(value, p->high[k]);
            continue;
        }
        if (p->squash == HOMEO_BINS) {
            value = p->values[largest(y + (size_t)k * (size_t)p->bins, p->bins)];
        } else if (p->squash == HOMEO_TANH) {
            value = TANH(value);
        } else {
            value = MAX(value, R(-1));
            value = MIN(value, R(1));
        }
        action[k] = value * p->half[k] + p->middle[k];
    }
}

/* Run all layers from events[0] (or rate[0 .. width) where inputs are graded), and let the mechanism advance. */
void homeo_decide(homeo *h, homeo_net *net, homeo_real *output)
{
    const homeo_policy *p = h->policy;
    const homeo_real *pre = h->rate;
    homeo_real *rate = h->rate + p->width;
    int32_t n;
    int i, grown = net->grown;

    for (i = 0; i < p->layers; i++) {
        const homeo_layer *l = &p->layer[i];
        homeo_run run = {0};

        if (!p->episode_membranes || net->rested) {
            net->current[i] = h->scratch + ROW_U * h->widest;
            net->potential[i] = h->scratch + ROW_V * h->widest;
            net->spikes[i] = h->scratch + ROW_S * h->widest;
            homeo_rest(l, net->current[i], net->potential[i], net->spikes[i]);
        }
        run.policy = p;
        run.layer = l;
        run.weight = net->weight[i];
        run.bias = net->bias[i];
        run.delta = net->grown ? net->delta[i] : NULL; /* without it sums are the same to the last bit */
        run.flag = net->rested ? NULL : h->flag[i];
        run.u = net->current[i];
        run.v = net->potential[i];
        run.s = net->spikes[i];
        run.energy = net->energy[i];
        run.scale = run.share = R(1);
        run.graded = i == 0 && p->encoder == HOMEO_CONSTANT ? h->rate : NULL;
        run.in = &h->events[i % 2];
        run.out = &h->events[(i + 1) % 2];
        run.rate = rate;
        run.fires = homeo_fires(p, i);
        run.widest = h->widest;
        homeo_run_layer(&run, h->scratch);
        if (i == p->layers - 1) {
            homeo_read_out(p, rate, run.s, run.v, output);
        }
        for (n = 0; n < l->size; n++) {
            rate[n] = run.fires ? rate[n] / R(p->steps) : run.s[n];
        }
        if (net->delta[i] != NULL) {
            adapt(h, net, i, pre, rate);
            grown |= p->rates == 0 || net->eta != R(0);
        }
        pre = rate;
        rate += l->size;
    }
    net->grown = grown;
}

int homeo_is_measurement(const homeo *h, const homeo_real *observation)
{
    int32_t n;

    if (h->policy == NULL || !h->ready) {
        return HOMEO_NOT_READY;
    }
    for (n = 0; n < h->policy->inputs; n++) {
        if (!(ABS(observation[n]) <= LIMIT)) {
            return HOMEO_NOT_FINITE;
        }
    }
    return HOMEO_OK;
}

int homeo_act(homeo *h, const homeo_real *observation, homeo_real *action)
{
    const homeo_policy *p = h->policy;
    const int result = homeo_is_measurement(h, observation);
    homeo_real *z = h->scratch + ROW_Z * h->widest;
    int32_t k;

    if (result != HOMEO_OK) {
        return result;
    }
    if (h->senses != NULL) {
        observation = h->senses->perceive(h, observation);
    }
    normalise(p, observation, z);
    encode(h, z);
    homeo_decide(h, &h->live, h->output);
    homeo_squash(p, h->output, action);
    if (p->reflex != NULL) {
        homeo_act_reflex(h, observation, action);
    }
    for (k = 0; h->senses != NULL && k < p->actions; k++) {
        h->observed.last[k] = (float)action[k];
    }
    guard(h);
    h->decisions += 1;
    h->awake += 1;
    return HOMEO_OK;
}

/* Decide as the trained network does at the first observation of an episode, without a mechanism and a reflex. The
 * encoder draws from `seed`. */
const homeo_real *homeo_act_healthy(homeo *h, const float *observation, uint64_t seed)
{
    const homeo_policy *p = h->policy;
    const homeo_random kept = h->random;
    homeo_real *z = h->scratch + ROW_Z * h->widest;
    homeo_net net = {0};
    int32_t n;

    net.rested = 1;
    for (n = 0; n < p->layers; n++) {
        net.weight[n] = p->layer[n].weight;
        net.bias[n] = p->layer[n].bias;
    }
    for (n = 0; n < p->inputs; n++) {
        z[n] = R(observation[n]);
    }
    homeo_random_seed(&h->random, seed);
    normalise(p, z, z);
    encode(h, z);
    h->random = kept;
    homeo_decide(h, &net, h->output);
    homeo_squash(p, h->output, z);
    return z;
}

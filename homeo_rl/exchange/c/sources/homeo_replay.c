/* Self-test, sleep and rehearsal, cut into slices. The rules are those of the Python package's homeostasis/sleep.py
 * and homeostasis/rate_search.py; sums run over remembered observations one after the other.
 *
 * A *sweep* goes through all M remembered observations, one a slice; what follows a sweep is one pass over the weights
 * of a layer at most. Layers are repaired one after the other from the input, on copies of their weights. The local
 * rules are here; of form "best" they are one candidate of several (homeo_compete.c). */
#include "homeo_internal.h"

enum { POWERS = 13, REFINEMENTS = 8, POWER_ITERATIONS = 30, FIRST_BIAS = 25, LAST_BIAS = 10 };

/* Remembered trains -------------------------------------------------------------------------------------------- */

homeo_real *homeo_row(const homeo *h, int which)
{
    return h->sums + (size_t)which * (size_t)h->widest;
}

/* Write the events [T][width] that bits of one observation stand for. */
void homeo_unpack(const homeo *h, const uint8_t *bits, int32_t width, homeo_events *events)
{
    size_t bit = 0;
    int32_t t, n;

    for (t = 0; t < h->policy->steps; t++) {
        uint16_t *place = events->place + (size_t)t * (size_t)h->widest;
        int32_t count = 0;

        for (n = 0; n < width; n++, bit++) {
            place[count] = (uint16_t)n;
            count += bits[bit >> 3] >> (bit & 7u) & 1;
        }
        events->count[t] = count;
    }
}

void homeo_pack(const homeo *h, const homeo_events *events, int32_t width, uint8_t *bits)
{
    size_t k, bytes = homeo_row_bytes(h->policy, width);
    int32_t t, n;

    for (k = 0; k < bytes; k++) {
        bits[k] = 0;
    }
    for (t = 0; t < h->policy->steps; t++) {
        for (n = 0; n < events->count[t]; n++) {
            size_t bit = (size_t)t * (size_t)width + events->place[(size_t)t * (size_t)h->widest + (size_t)n];

            bits[bit >> 3] = (uint8_t)(bits[bit >> 3] | 1u << (bit & 7u));
        }
    }
}

/* Add the counts of events, as mean rates, to nothing: values [width]. */
static void rates_of(const homeo *h, const homeo_events *events, int32_t width, homeo_real *values)
{
    int32_t t, n;

    for (n = 0; n < width; n++) {
        values[n] = R(0);
    }
    for (t = 0; t < h->policy->steps; t++) {
        for (n = 0; n < events->count[t]; n++) {
            values[events->place[(size_t)t * (size_t)h->widest + (size_t)n]] += R(1);
        }
    }
    for (n = 0; n < width; n++) {
        values[n] /= R(h->policy->steps);
    }
}

/* Events go to `events`; graded inputs are returned. */
const homeo_real *homeo_receive(homeo *h, int layer, int32_t m, int repaired, homeo_events *events)
{
    const homeo_policy *p = h->policy;
    const int32_t width = p->layer[layer].inputs, imagined = m - p->observations;
    const size_t bytes = homeo_row_bytes(p, width);
    const uint8_t *bits;

    if (layer == 0 && p->train == NULL) {
        return imagined < 0 ? p->inputs_remembered + (size_t)m * (size_t)p->width
                            : p->inputs_dreamed + (size_t)imagined * (size_t)p->width;
    }
    if (layer > 0 && repaired) {
        bits = h->received[(layer - 1) % 2] + (size_t)m * bytes;
    } else if (imagined < 0) {
        bits = (layer == 0 ? p->train : p->layer[layer - 1].answer) + (size_t)m * bytes;
    } else {
        bits = (layer == 0 ? p->dream : h->dream[layer - 1]) + (size_t)imagined * bytes;
    }
    homeo_unpack(h, bits, width, events);
    return NULL;
}

/* Let a layer answer from rest; mean outputs go to `out` [size], spikes to events[1 - turn]. Returns the run, whose
 * last spikes and potentials can be read. */
homeo_run homeo_replay(homeo *h, int layer, const homeo_played *played, const homeo_real *graded, int turn,
                       homeo_real *out)
{
    const homeo_policy *p = h->policy;
    homeo_run run = {0};
    int32_t n;

    run.policy = p;
    run.layer = &p->layer[layer];
    run.u = h->scratch + ROW_U * h->widest;
    run.v = h->scratch + ROW_V * h->widest;
    run.s = h->scratch + ROW_S * h->widest;
    homeo_rest(run.layer, run.u, run.v, run.s);
    run.weight = played->weight;
    run.bias = played->bias;
    run.flag = played->flag;
    run.scale = played->scale;
    run.share = played->share;
    run.graded = graded;
    run.in = &h->events[turn];
    run.out = &h->events[1 - turn];
    run.fires = homeo_fires(p, layer);
    run.rate = run.fires ? out : h->scratch + ROW_ACTIVITY * h->widest;
    run.potential = run.fires ? NULL : out;
    run.path = played->path;
    run.widest = h->widest;
    for (n = 0; n < run.layer->size; n++) {
        out[n] = R(0);
    }
    homeo_run_layer(&run, h->scratch);
    for (n = 0; n < run.layer->size; n++) {
        out[n] /= R(p->steps);
    }
    return run;
}

/* The same with the events of events[0] and the flags of the layer as it is. */
static void answer(homeo *h, int layer, const homeo_real *weight, const homeo_real *bias, homeo_real scale,
                   const homeo_real *graded, homeo_real *out)
{
    const homeo_played played = {weight, bias, h->flag[layer], scale, scale, NULL};

    homeo_replay(h, layer, &played, graded, 0, out);
}

static homeo_real bits_of(const homeo *h, const uint8_t *bits, int32_t width, int32_t n)
{
    homeo_real count = R(0);
    int32_t t;

    for (t = 0; t < h->policy->steps; t++) {
        size_t bit = (size_t)t * (size_t)width + (size_t)n;

        count += R(bits[bit >> 3] >> (bit & 7u) & 1);
    }
    return count / R(h->policy->steps);
}

/* The mean output of neuron n that is remembered of observation m; `own`: of the last sleep, if there was one. */
homeo_real homeo_remembered(const homeo *h, int layer, int32_t m, int32_t n, int own)
{
    const homeo_layer *l = &h->policy->layer[layer];

    if (l->potential != NULL && !(own && h->sleep_count > 0)) {
        const homeo_real *potential = l->potential + (size_t)m * (size_t)h->policy->steps * (size_t)l->size + n;
        homeo_real total = R(0);
        int32_t t;

        for (t = 0; t < h->policy->steps; t++) {
            total += potential[(size_t)t * (size_t)l->size];
        }
        return total / R(h->policy->steps);
    }
    if (l->answer != NULL) {
        const uint8_t *bits = own && h->sleep_count > 0 ? h->answer[layer] : l->answer;

        return bits_of(h, bits + (size_t)m * homeo_row_bytes(h->policy, l->size), l->size, n);
    }
    return (own && h->sleep_count > 0 ? h->target[layer] : l->target)[(size_t)m * (size_t)l->size + (size_t)n];
}

/* Self-test ---------------------------------------------------------------------------------------------------- */

int homeo_selftest_due(const homeo *h)
{
    const homeo_policy *p = h->policy;

    return p != NULL && h->ready && p->sleeps && !h->tested &&
           (h->decisions == 0 || h->decisions % p->every == p->every - 1) &&
           !(h->sleep_count > 0 && h->awake < p->rest);
}

static int start(homeo *h, int kind, int phase)
{
    const homeo_job nothing = {0};

    if (h->policy == NULL || !h->ready) {
        return HOMEO_NOT_READY;
    }
    if (!h->policy->sleeps) {
        return HOMEO_ABSENT;
    }
    h->job = nothing;
    h->job.kind = kind;
    h->job.phase = phase;
    return HOMEO_OK;
}

int homeo_selftest_start(homeo *h)
{
    return start(h, JOB_TEST, PHASE_TEST);
}

int homeo_selftest_step(homeo *h)
{
    const homeo_policy *p = h->policy;
    homeo_job *job = &h->job;
    const homeo_layer *l;
    homeo_real *out;
    int32_t n;
    int i, passed = 1;

    if (p == NULL || job->kind != JOB_TEST) {
        return HOMEO_NOT_READY;
    }
    l = &p->layer[job->layer];
    out = homeo_row(h, SUM_OUT);
    answer(h, job->layer, h->live.weight[job->layer], h->live.bias[job->layer], R(1),
           homeo_receive(h, job->layer, job->observation, 0, &h->events[0]), out);
    for (n = 0; n < l->size; n++) {
        job->total += ABS(out[n] - homeo_remembered(h, job->layer, job->observation, n, 1));
    }
    if (++job->observation < p->observations) {
        return HOMEO_BUSY;
    }
    h->change[job->layer] = job->total / R(p->observations) / R(l->size);
    job->observation = 0;
    job->total = R(0);
    if (++job->layer < p->layers) {
        return HOMEO_BUSY;
    }
    job->kind = JOB_NONE;
    h->tested = 1;
    for (i = 0; i < p->layers; i++) {
        passed = passed && h->change[i] <= p->tolerance;
    }
    return passed ? HOMEO_PASSED : HOMEO_FAILED;
}

int homeo_selftest(homeo *h)
{
    int result = homeo_selftest_start(h);

    if (result != HOMEO_OK) {
        return result;
    }
    do {
        result = homeo_selftest_step(h);
    } while (result == HOMEO_BUSY);
    return result;
}

/* Sleep: phases ------------------------------------------------------------------------------------------------ */

/* Begin a phase of so many sweeps over the remembered observations. */
void homeo_enter(homeo *h, int phase, int32_t passes)
{
    const homeo_layer *l = &h->policy->layer[h->job.layer];
    int32_t n;

    homeo_sweep(h, phase, h->policy->observations);
    h->job.pass = 0;
    h->job.passes = passes;
    for (n = 0; n < l->size; n++) {
        homeo_row(h, SUM_MEAN)[n] = homeo_row(h, SUM_SPREAD)[n] = R(0);
        if (phase == PHASE_BASE) {
            homeo_row(h, SUM_WANTED)[n] = homeo_row(h, SUM_WANTED_SPREAD)[n] = R(0);
        }
    }
    for (n = 0; n < l->inputs; n++) {
        homeo_row(h, SUM_IMAGE)[n] = R(0);
        if (phase == PHASE_INPUTS) {
            homeo_row(h, SUM_INPUT)[n] = R(0);
        } else if (phase == PHASE_DIRECTION) {
            homeo_row(h, SUM_DIRECTION)[n] = R(0);
        }
    }
}

/* Begin so many slices; their sums are left as they are. */
void homeo_sweep(homeo *h, int phase, int32_t count)
{
    h->job.phase = phase;
    h->job.observation = 0;
    h->job.count = count;
    h->job.total = R(0);
}

/* Weights and biases that the local rules work on. */
static homeo_real *work_weight(const homeo *h)
{
    return h->policy->form == HOMEO_FORM_BEST ? h->fit : h->next_weight[h->job.layer];
}

static homeo_real *work_bias(const homeo *h)
{
    const homeo_layer *l = &h->policy->layer[h->job.layer];

    return h->policy->form == HOMEO_FORM_BEST ? h->fit + (size_t)l->inputs * (size_t)l->size
                                              : h->next_bias[h->job.layer];
}

static int by_delta(const homeo_policy *p)
{
    return p->form == HOMEO_FORM_DELTA || p->form == HOMEO_FORM_BEST;
}

/* Begin the local rules of a layer with its weights as they are. */
void homeo_begin_layer(homeo *h, int layer)
{
    const homeo_layer *l = &h->policy->layer[layer];
    size_t k;
    int32_t n;

    h->job.layer = layer;
    h->job.stage = 0;
    for (k = 0; k < (size_t)l->size * (size_t)l->inputs; k++) {
        work_weight(h)[k] = h->live.weight[layer][k];
    }
    for (n = 0; n < l->size; n++) {
        work_bias(h)[n] = h->live.bias[layer][n];
    }
    homeo_enter(h, PHASE_BASE, 1);
}

int homeo_sleep_start(homeo *h)
{
    int result = start(h, JOB_SLEEP, PHASE_ANSWER);

    if (result == HOMEO_OK) {
        h->job.count = h->policy->observations;
    }
    if (result == HOMEO_OK && h->policy->form == HOMEO_FORM_BEST) {
        homeo_begin_competition(h);
    } else if (result == HOMEO_OK && h->policy->form != HOMEO_FORM_NONE) {
        homeo_begin_layer(h, 0);
    }
    return result;
}

/* Neurons that can do something about their output. */
homeo_real homeo_able(const homeo *h, int layer, int32_t n)
{
    return h->flag[layer] == NULL || h->flag[layer][n] == HOMEO_ALIVE ? R(1) : R(0);
}

static homeo_real slope(const homeo *h, int layer)
{
    return homeo_fires(h->policy, layer) ? R(1) : R(h->policy->steps);
}

static void add_moment(homeo_real value, int32_t m, homeo_real *mean, homeo_real *spread)
{
    const homeo_real distance = value - *mean;

    *mean += distance / R(m + 1);
    *spread += distance * (value - *mean);
}

/* One observation of a sweep over answers: error, means and, if asked for, the push of the delta rule. */
static void sweep_answers(homeo *h, homeo_real scale)
{
    homeo_job *job = &h->job;
    const int32_t m = job->observation;
    const homeo_layer *l = &h->policy->layer[job->layer];
    const homeo_real *graded = homeo_receive(h, job->layer, m, 1, &h->events[0]);
    homeo_real *out = homeo_row(h, SUM_OUT), *varied = homeo_row(h, SUM_IMAGE);
    int32_t n, k;

    answer(h, job->layer, work_weight(h), work_bias(h), scale, graded, out);
    for (n = 0; n < l->size; n++) {
        const homeo_real target = homeo_remembered(h, job->layer, m, n, 0);

        job->total += ABS(out[n] - target);
        if (job->phase == PHASE_BASE) {
            add_moment(target, m, &homeo_row(h, SUM_WANTED)[n], &homeo_row(h, SUM_WANTED_SPREAD)[n]);
        }
        if (job->phase == PHASE_DELTA) {
            out[n] = (target - out[n]) * homeo_able(h, job->layer, n) / slope(h, job->layer);
        }
        add_moment(out[n], m, &homeo_row(h, SUM_MEAN)[n], &homeo_row(h, SUM_SPREAD)[n]);
    }
    if (job->phase != PHASE_DELTA) {
        return;
    }
    if (graded == NULL) {
        rates_of(h, &h->events[0], l->inputs, varied);
    }
    for (k = 0; k < l->inputs; k++) {
        homeo_real *restrict push = h->push + (size_t)k * (size_t)l->size;
        const homeo_real value = ((graded == NULL ? varied[k] : graded[k]) - homeo_row(h, SUM_INPUT)[k]) *
                                 (R(0.5) / (job->largest * R(h->policy->observations)));

        for (n = 0; n < l->size; n++) {
            push[n] += out[n] * value;
        }
    }
}

/* One observation of a sweep over inputs: their means, squares, or the image of a direction. */
static void sweep_inputs(homeo *h)
{
    homeo_job *job = &h->job;
    const homeo_layer *l = &h->policy->layer[job->layer];
    const homeo_real *graded = homeo_receive(h, job->layer, job->observation, 1, &h->events[0]);
    homeo_real *varied = h->scratch + ROW_ACTIVITY * h->widest, *direction = homeo_row(h, SUM_DIRECTION);
    homeo_real along = R(0);
    int32_t k;

    if (graded == NULL) {
        rates_of(h, &h->events[0], l->inputs, varied);
    }
    for (k = 0; k < l->inputs; k++) {
        varied[k] = graded == NULL ? varied[k] : graded[k];
        if (job->phase == PHASE_INPUTS) {
            homeo_row(h, SUM_INPUT)[k] += varied[k] / R(h->policy->observations);
            continue;
        }
        varied[k] -= homeo_row(h, SUM_INPUT)[k];
        if (job->phase == PHASE_DIRECTION) {
            direction[k] += varied[k] * varied[k];
        } else {
            along += varied[k] * direction[k];
        }
    }
    for (k = 0; job->phase == PHASE_POWER && k < l->inputs; k++) {
        homeo_row(h, SUM_IMAGE)[k] += varied[k] * along / R(h->policy->observations);
    }
}

static void send_repaired(homeo *h)
{
    const homeo_policy *p = h->policy;
    const int layer = h->job.layer;
    const int32_t size = p->layer[layer].size;

    answer(h, layer, h->next_weight[layer], h->next_bias[layer], R(1),
           homeo_receive(h, layer, h->job.observation, 1, &h->events[0]), homeo_row(h, SUM_OUT));
    homeo_pack(h, &h->events[1], size,
         h->received[layer % 2] + (size_t)h->job.observation * homeo_row_bytes(p, size));
}

static const homeo_real *weight_of(const homeo *h, int layer)
{
    return h->policy->form == HOMEO_FORM_NONE ? h->live.weight[layer] : h->next_weight[layer];
}

static const homeo_real *bias_of(const homeo *h, int layer)
{
    return h->policy->form == HOMEO_FORM_NONE ? h->live.bias[layer] : h->next_bias[layer];
}

/* What each layer alone answers after sleep: the reference of later self-tests. */
static void note_answer(homeo *h)
{
    const homeo_policy *p = h->policy;
    const int layer = h->job.layer;
    const int32_t size = p->layer[layer].size, m = h->job.observation;
    homeo_real *out = homeo_row(h, SUM_OUT);
    int32_t n;

    answer(h, layer, weight_of(h, layer), bias_of(h, layer), R(1), homeo_receive(h, layer, m, 0, &h->events[0]),
           out);
    if (h->answer[layer] != NULL) {
        homeo_pack(h, &h->events[1], size, h->answer[layer] + (size_t)m * homeo_row_bytes(p, size));
        return;
    }
    for (n = 0; n < size; n++) {
        h->target[layer][(size_t)m * (size_t)size + (size_t)n] = out[n];
    }
}

/* Sleep: what follows a sweep ---------------------------------------------------------------------------------- */

/* The factor of an attempt of the search for a scale: powers of two from 1/1024 to 4, then around the best. */
static homeo_real factor_of(homeo_job *job)
{
    static const homeo_real steps[4] = {R(1.4142135623730951), R(1.1892071150027210), R(1.0905077326652577),
                                        R(1.0442737824274138)};
    homeo_real factor = R(1.0 / 1024.0);
    int32_t k;

    if (job->pass < POWERS) {
        for (k = 0; k < job->pass; k++) {
            factor *= R(2);
        }
        return factor;
    }
    k = job->pass - POWERS;
    if (k % 2 == 0) {
        job->center_factor = job->best_factor;
    }
    return k % 2 == 0 ? job->center_factor * steps[k / 2] : job->center_factor / steps[k / 2];
}

static void after_base(homeo *h)
{
    const homeo_policy *p = h->policy;
    homeo_job *job = &h->job;
    const int32_t size = p->layer[job->layer].size;
    int32_t n;

    job->base_error = job->total / R(p->observations) / R(size);
    job->base_offset = R(0);
    for (n = 0; n < size; n++) {
        job->base_offset += ABS(homeo_row(h, SUM_MEAN)[n] - homeo_row(h, SUM_WANTED)[n]) / R(size);
    }
    if (by_delta(p)) {
        job->best_factor = R(1);
        job->best_error = job->base_error;
        homeo_enter(h, PHASE_SCALE, POWERS + REFINEMENTS);
        job->factor = factor_of(job);
    } else {
        homeo_enter(h, PHASE_BIAS, p->passes);
    }
}

static void after_scale(homeo *h)
{
    const homeo_policy *p = h->policy;
    homeo_job *job = &h->job;
    const homeo_layer *l = &p->layer[job->layer];
    const homeo_real error = job->total / R(p->observations) / R(l->size);
    homeo_real *weight = work_weight(h), *bias = work_bias(h);
    size_t k;
    int32_t n;

    job->total = R(0);
    if (error < job->best_error) {
        job->best_error = error;
        job->best_factor = job->factor;
    }
    if (++job->pass < job->passes) {
        job->factor = factor_of(job);
        return;
    }
    if (!(job->best_error > R(0.5) * job->base_error) && job->best_factor != R(1)) {
        for (k = 0; k < (size_t)l->size * (size_t)l->inputs; k++) {
            weight[k] *= job->best_factor;
        }
        for (n = 0; n < l->size; n++) {
            bias[n] *= job->best_factor;
        }
    }
    homeo_enter(h, PHASE_BIAS, FIRST_BIAS);
}

/* Where a row of bias passes leads to; `stage` counts these rows. */
static void leave_bias(homeo *h)
{
    const homeo_policy *p = h->policy;
    const int32_t stage = h->job.stage++;

    if (by_delta(p) && stage == 0) {
        homeo_enter(h, PHASE_INPUTS, 1);
    } else if (p->form == HOMEO_FORM_GAIN && 2 * stage < p->passes) {
        homeo_enter(h, PHASE_SPREAD, 1);
    } else {
        homeo_enter(h, PHASE_CHECK, 1);
    }
}

static void after_bias(homeo *h)
{
    homeo_job *job = &h->job;
    const int32_t size = h->policy->layer[job->layer].size;
    homeo_real *bias = work_bias(h);
    int32_t n;

    for (n = 0; n < size; n++) {
        bias[n] += (homeo_row(h, SUM_WANTED)[n] - homeo_row(h, SUM_MEAN)[n]) * homeo_able(h, job->layer, n) /
                   (R(2) + R(job->pass) / R(4)) / slope(h, job->layer);
        homeo_row(h, SUM_MEAN)[n] = homeo_row(h, SUM_SPREAD)[n] = R(0);
    }
    if (++job->pass == job->passes) {
        leave_bias(h);
    }
}

static void after_power(homeo *h)
{
    homeo_job *job = &h->job;
    const homeo_layer *l = &h->policy->layer[job->layer];
    homeo_real *image = homeo_row(h, SUM_IMAGE), length = R(0);
    size_t n;
    int32_t k;

    for (k = 0; k < l->inputs; k++) {
        length += image[k] * image[k];
    }
    length = SQRT(length);
    for (k = 0; k < l->inputs; k++) {
        homeo_row(h, SUM_DIRECTION)[k] = length > R(0) ? image[k] / length : R(0);
        image[k] = R(0);
    }
    job->largest = length;
    if (!(length > R(0))) {
        homeo_enter(h, PHASE_CHECK, 1); /* inputs that never vary */
    } else if (++job->pass == job->passes) {
        homeo_enter(h, PHASE_DELTA, h->policy->passes);
        for (n = 0; n < (size_t)l->size * (size_t)l->inputs; n++) {
            h->push[n] = R(0);
        }
    }
}

static void after_delta(homeo *h)
{
    homeo_job *job = &h->job;
    const homeo_layer *l = &h->policy->layer[job->layer];
    const homeo_real *before = h->live.weight[job->layer];
    homeo_real *weight = work_weight(h), *bias = work_bias(h);
    size_t k;
    int32_t n;

    for (k = 0; k < (size_t)l->size * (size_t)l->inputs; k++) {
        if (before[k] != R(0)) { /* a synapse that is gone stays so */
            weight[k] += h->push[k];
        }
        h->push[k] *= R(0.8);
    }
    for (n = 0; n < l->size; n++) {
        bias[n] += R(0.25) * homeo_row(h, SUM_MEAN)[n];
        homeo_row(h, SUM_MEAN)[n] = homeo_row(h, SUM_SPREAD)[n] = R(0);
    }
    if (++job->pass == job->passes) {
        homeo_enter(h, PHASE_BIAS, LAST_BIAS);
    }
}

static void after_spread(homeo *h)
{
    const homeo_policy *p = h->policy;
    homeo_job *job = &h->job;
    const homeo_layer *l = &p->layer[job->layer];
    const homeo_real others = R(p->observations - 1);
    int32_t n, k;

    for (n = 0; n < l->size; n++) {
        const homeo_real now = SQRT(homeo_row(h, SUM_SPREAD)[n] / others);
        const homeo_real wanted = SQRT(homeo_row(h, SUM_WANTED_SPREAD)[n] / others);
        homeo_real factor = wanted / MAX(now, R(1e-3));

        factor = MAX(factor, R(0.8));
        factor = POW(MIN(factor, R(1.25)), R(0.3));
        for (k = 0; now > R(1e-3) && homeo_able(h, job->layer, n) > R(0) && k < l->inputs; k++) {
            work_weight(h)[(size_t)k * (size_t)l->size + (size_t)n] *= factor;
        }
    }
    homeo_enter(h, PHASE_BIAS, 2 * job->stage < p->passes ? 2 : p->passes);
}

void homeo_after_layer(homeo *h)
{
    const homeo_policy *p = h->policy;

    if (h->job.layer + 1 < p->layers && p->form == HOMEO_FORM_BEST) {
        homeo_begin_candidates(h, h->job.layer + 1);
    } else if (h->job.layer + 1 < p->layers) {
        homeo_begin_layer(h, h->job.layer + 1);
    } else {
        h->job.layer = 0;
        homeo_enter(h, PHASE_ANSWER, 1);
    }
}

/* Keep what sleep made of a layer only if its outputs came closer to the remembered ones. */
static void after_check(homeo *h)
{
    const homeo_policy *p = h->policy;
    homeo_job *job = &h->job;
    const homeo_layer *l = &p->layer[job->layer];
    const size_t weights = (size_t)l->size * (size_t)l->inputs;
    homeo_real *weight = work_weight(h), *bias = work_bias(h);
    homeo_real offset = R(0);
    int kept = homeo_finite(weight, weights) && homeo_finite(bias, (size_t)l->size);
    size_t k;
    int32_t n;

    for (n = 0; n < l->size; n++) {
        offset += ABS(homeo_row(h, SUM_MEAN)[n] - homeo_row(h, SUM_WANTED)[n]) / R(l->size);
    }
    if (by_delta(p)) {
        kept = kept && job->total / R(p->observations) / R(l->size) < job->base_error;
    } else {
        kept = kept && offset < job->base_offset;
    }
    for (k = 0; !kept && k < weights; k++) {
        weight[k] = h->live.weight[job->layer][k];
    }
    for (n = 0; !kept && n < l->size; n++) {
        bias[n] = h->live.bias[job->layer][n];
    }
    if (p->form == HOMEO_FORM_BEST) {
        homeo_judge_fit(h);
    } else if (job->layer + 1 < p->layers) {
        homeo_enter(h, PHASE_SEND, 1);
    } else {
        homeo_after_layer(h);
    }
}

/* Rehearsal ---------------------------------------------------------------------------------------------------- */

static void begin_trial(homeo *h)
{
    const homeo_policy *p = h->policy;
    int i;

    h->trial.grown = 0;
    h->trial.eta = h->job.rate == 0 ? R(0) : p->rate[h->job.rate - 1];
    for (i = 0; i < p->layers; i++) {
        h->trial.weight[i] = weight_of(h, i);
        h->trial.bias[i] = bias_of(h, i);
        homeo_begin_adaptation(h, &h->trial, i);
        if (p->episode_membranes) {
            homeo_rest(&p->layer[i], h->trial.current[i], h->trial.potential[i], h->trial.spikes[i]);
        }
    }
    h->job.pass = h->job.observation = 0;
    h->job.total = R(0);
    for (i = 0; i < p->outputs; i++) {
        homeo_row(h, SUM_MEAN)[i] = R(0);
    }
}

/* Actions in [-1, 1], by which a rehearsal is judged; of a choice the outputs. */
homeo_real homeo_unit_action(const homeo_policy *p, const homeo_real *action, const homeo_real *output, int32_t k)
{
    if (p->squash == HOMEO_CHOICE) {
        return output[k];
    }
    return R(2) * (action[k] - p->low[k]) / (p->high[k] - p->low[k]) - R(1);
}

static void rehearse(homeo *h)
{
    const homeo_policy *p = h->policy;
    homeo_job *job = &h->job;
    const int32_t entries = p->squash == HOMEO_CHOICE ? p->outputs : p->actions, m = job->observation;
    const homeo_real *graded = homeo_receive(h, 0, m, 0, &h->events[0]);
    homeo_real *action = homeo_row(h, SUM_OUT);
    int32_t k;

    if (graded == NULL) {
        rates_of(h, &h->events[0], p->width, h->rate);
    }
    for (k = 0; graded != NULL && k < p->width; k++) {
        h->rate[k] = graded[k];
    }
    homeo_decide(h, &h->trial, h->output);
    if (job->pass < p->rehearsals - 1) {
        return;
    }
    homeo_squash(p, h->output, action);
    for (k = 0; k < entries; k++) {
        const homeo_real error = homeo_unit_action(p, action, h->output, k) -
                                 p->healthy[(size_t)m * (size_t)entries + (size_t)k];

        job->total += ABS(error) / R(p->observations * entries);
        homeo_row(h, SUM_MEAN)[k] += error / R(p->observations);
    }
}

/* A distance as a share of that at rate 0; 1 where there is nothing to gain, and large where there was nothing. */
static homeo_real share(homeo_real part, homeo_real first)
{
    return first > R(0) ? part / first : part > R(0) ? R(1e30) : R(1);
}

static void after_rate(homeo *h)
{
    const homeo_policy *p = h->policy;
    homeo_job *job = &h->job;
    const int32_t entries = p->squash == HOMEO_CHOICE ? p->outputs : p->actions;
    homeo_real common = R(0), distance;
    int32_t k;

    for (k = 0; k < entries; k++) {
        common += homeo_row(h, SUM_MEAN)[k] * homeo_row(h, SUM_MEAN)[k];
    }
    common = SQRT(common);
    if (job->rate == 0) {
        job->first_parts[0] = job->total;
        job->first_parts[1] = common;
    }
    distance = (share(job->total, job->first_parts[0]) + share(common, job->first_parts[1])) / R(2);
    if (job->rate == 0 || distance < job->best_distance) {
        job->best_distance = distance;
        job->chosen = job->rate;
    }
    if (job->rate < p->rates) {
        job->rate += 1;
        begin_trial(h);
    } else if (job->best_distance > R(1) - p->least) {
        job->chosen = -1; /* stays shut */
        job->phase = PHASE_COMMIT;
    } else if (job->chosen == job->rate) {
        job->phase = PHASE_COMMIT;
    } else {
        job->replaying = 1; /* memory holds one trial: the best is repeated */
        job->rate = job->chosen;
        begin_trial(h);
    }
}

static void after_rehearsed(homeo *h)
{
    homeo_job *job = &h->job;

    job->observation = 0;
    if (++job->pass < h->policy->rehearsals) {
        return;
    }
    if (job->replaying) {
        job->phase = PHASE_COMMIT;
    } else {
        after_rate(h);
    }
}

/* Awakening ---------------------------------------------------------------------------------------------------- */

static void exchange(homeo_real **a, homeo_real **b)
{
    homeo_real *kept = *a;

    *a = *b;
    *b = kept;
}

static void commit(homeo *h)
{
    const homeo_policy *p = h->policy;
    const int learned = p->rates > 0 && h->job.chosen >= 0;
    int i;

    for (i = 0; i < p->layers; i++) {
        if (p->form != HOMEO_FORM_NONE) {
            exchange(&h->weight[i], &h->next_weight[i]);
            exchange(&h->bias[i], &h->next_bias[i]);
            h->live.weight[i] = h->weight[i];
            h->live.bias[i] = h->bias[i];
        }
        if (learned) {
            exchange(&h->live.delta[i], &h->trial.delta[i]);
            exchange(&h->live.mean[i], &h->trial.mean[i]);
            exchange(&h->live.square[i], &h->trial.square[i]);
        } else {
            homeo_begin_adaptation(h, &h->live, i);
        }
        if (p->rules != 0 && p->episode_membranes) { /* a mechanism that starts again takes the membranes with it */
            homeo_rest(&p->layer[i], h->live.current[i], h->live.potential[i], h->live.spikes[i]);
        }
    }
    for (i = 0; i < p->layers && p->form == HOMEO_FORM_BEST; i++) {
        h->kept[i] = h->job.kept[i];
    }
    h->live.eta = learned ? p->eta_awake : R(0);
    h->live.grown = learned && h->trial.grown;
    h->sleep_count += 1;
    h->awake = 0;
    h->tested = 1;
    h->job.kind = JOB_NONE;
}

static void after_sweep(homeo *h)
{
    const homeo_policy *p = h->policy;

    switch (h->job.phase) {
    case PHASE_BASE: after_base(h); break;
    case PHASE_SCALE: after_scale(h); break;
    case PHASE_BIAS: after_bias(h); break;
    case PHASE_INPUTS: homeo_enter(h, PHASE_DIRECTION, 1); break;
    case PHASE_DIRECTION: homeo_enter(h, PHASE_POWER, POWER_ITERATIONS); break;
    case PHASE_POWER: after_power(h); break;
    case PHASE_DELTA: after_delta(h); break;
    case PHASE_SPREAD: after_spread(h); break;
    case PHASE_CHECK: after_check(h); break;
    case PHASE_SEND: homeo_after_layer(h); break;
    case PHASE_REHEARSE: after_rehearsed(h); break;
    case PHASE_ANSWER:
        if (++h->job.layer < p->layers) {
            break;
        }
        h->job.layer = 0;
        h->job.phase = p->rates > 0 ? PHASE_REHEARSE : PHASE_COMMIT;
        h->job.count = p->observations;
        if (p->rates > 0) {
            begin_trial(h);
        }
        break;
    default: homeo_after_compete(h);
    }
}

int homeo_sleep_step(homeo *h)
{
    homeo_job *job = &h->job;

    if (h->policy == NULL || job->kind != JOB_SLEEP) {
        return HOMEO_NOT_READY;
    }
    switch (job->phase) {
    case PHASE_COMMIT: commit(h); return HOMEO_OK;
    case PHASE_INPUTS:
    case PHASE_DIRECTION:
    case PHASE_POWER: sweep_inputs(h); break;
    case PHASE_SEND: send_repaired(h); break;
    case PHASE_ANSWER: note_answer(h); break;
    case PHASE_REHEARSE: rehearse(h); break;
    case PHASE_SCALE: sweep_answers(h, job->factor); break;
    case PHASE_BASE:
    case PHASE_BIAS:
    case PHASE_DELTA:
    case PHASE_SPREAD:
    case PHASE_CHECK: sweep_answers(h, R(1)); break;
    default: homeo_compete_step(h);
    }
    if (++job->observation == job->count) {
        job->observation = 0;
        after_sweep(h);
    }
    return HOMEO_BUSY;
}

int homeo_sleep(homeo *h)
{
    int result = homeo_sleep_start(h);

    if (result != HOMEO_OK) {
        return result;
    }
    do {
        result = homeo_sleep_step(h);
    } while (result == HOMEO_BUSY);
    return result;
}

int homeo_maybe_sleep(homeo *h)
{
    int result;

    if (!homeo_selftest_due(h)) {
        return 0;
    }
    result = homeo_selftest(h);
    if (result != HOMEO_FAILED) {
        return result;
    }
    result = homeo_sleep(h);
    return result == HOMEO_OK ? 1 : result;
}

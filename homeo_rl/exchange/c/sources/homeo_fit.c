/* Fits of one layer for form "best" of sleep: weights after which neurons fire where they are remembered to have fired
 * ("spikes"), or receive the currents that they received ("ridge"). The problems and the iterations are those of the
 * Python package's homeostasis/sleep_candidates; all neurons of a layer are solved side by side.
 *
 * Matrices are [inputs + 1][size]: a row for each input, and the biases as the last row. A slice is one observation, or
 * one row: at most a product of one row of a triangle [inputs + 1] with a matrix. Potentials are not kept: each sweep
 * computes them again, so that memory does not grow with the number of observations. */
#include "homeo_internal.h"

enum { MODEL_PASSES = 4, SPIKE_PASSES = 7, RIDGE_ITERATIONS = 25 };

#define MARGIN R(0.4)       /* of potentials, in thresholds */
#define PENALTY_LOST R(0.001)
#define PENALTY R(0.02)
#define PENALTY_RIDGE R(1e-3)
#define SMALLEST R(1e-30)

/* Sums of a fit lie in the rows that local rules have theirs in: the two never run at once. */
enum { PRODUCT = SUM_MEAN, CROSS = SUM_SPREAD, LENGTH = SUM_WANTED, SLOPE = SUM_WANTED_SPREAD, CURVE = SUM_INPUT,
       PULL = SUM_DIRECTION, STIFF = SUM_IMAGE, BEFORE = SUM_OUT };

static const homeo_layer *layer_of(const homeo *h)
{
    return &h->policy->layer[h->job.layer];
}

static int by_spikes(const homeo *h)
{
    return h->job.fit != FIT_RIDGE;
}

/* Whether the fit is of a healthy model, which hears what is remembered, or of a candidate, which hears what the
 * repaired layers send and also has dreams. */
static int of_model(const homeo *h)
{
    return h->job.fit == FIT_LOST || h->job.fit == FIT_ALL;
}

static int32_t rows_of(const homeo *h)
{
    return h->policy->observations + (of_model(h) ? 0 : h->policy->dreams);
}

/* Penalty of a squared change: a share of the number of spike steps. */
static homeo_real weight_of(const homeo *h)
{
    const homeo_real penalty = h->job.fit == FIT_LOST ? PENALTY_LOST : by_spikes(h) ? PENALTY : PENALTY_RIDGE;

    return penalty * R(h->policy->steps * rows_of(h));
}

static homeo_real *matrix_row(const homeo *h, homeo_real *matrix, int32_t k)
{
    return matrix + (size_t)k * (size_t)layer_of(h)->size;
}

static const homeo_real *live_row(const homeo *h, int32_t k)
{
    const homeo_layer *l = layer_of(h);

    return k == l->inputs ? h->live.bias[h->job.layer] : h->live.weight[h->job.layer] + (size_t)k * (size_t)l->size;
}

/* 1 for what may change, else 0, of a row of the matrix. */
static const homeo_real *free_of(const homeo *h, int32_t k)
{
    const homeo_layer *l = layer_of(h);
    const homeo_real *now = live_row(h, k);
    homeo_real *mask = h->scratch + ROW_BEFORE * h->widest;
    int32_t n;

    for (n = 0; n < l->size; n++) {
        if (h->job.fit == FIT_ALL) {
            mask[n] = R(1);
        } else if (h->job.fit == FIT_LOST) {
            mask[n] = k < l->inputs && now[n] == R(0) ? R(1) : R(0);
        } else {
            mask[n] = k == l->inputs || now[n] != R(0) ? homeo_able(h, h->job.layer, n) : R(0);
        }
    }
    return mask;
}

/* Weights that changes are counted from, of a row: the healthy model, and where a candidate cannot write the layer as
 * it is. `mask` is free_of(h, k). */
static const homeo_real *centre_of(const homeo *h, int32_t k, const homeo_real *mask)
{
    const homeo_real *model = matrix_row(h, h->model[h->job.layer], k), *now = live_row(h, k);
    homeo_real *centre = h->scratch + ROW_THRESHOLD * h->widest;
    int32_t n;

    for (n = 0; n < layer_of(h)->size; n++) {
        centre[n] = of_model(h) || mask[n] > R(0) ? model[n] : now[n];
    }
    return centre;
}

static void clear(const homeo *h, int which)
{
    int32_t n;

    for (n = 0; n < layer_of(h)->size; n++) {
        homeo_row(h, which)[n] = R(0);
    }
}

/* Row i of a triangle [inputs + 1]: i + 1 numbers. */
static homeo_real *triangle_row(const homeo *h, int32_t i)
{
    return h->gram + (size_t)i * ((size_t)i + 1u) / 2u;
}

static homeo_real dot(const homeo_real *a, const homeo_real *b, int32_t count)
{
    homeo_real part[8] = {R(0), R(0), R(0), R(0), R(0), R(0), R(0), R(0)};
    int32_t k, lane;

    for (k = 0; k + 8 <= count; k += 8) { /* eight sums side by side do not wait for each other */
        for (lane = 0; lane < 8; lane++) {
            part[lane] += a[k + lane] * b[k + lane];
        }
    }
    for (; k < count; k++) {
        part[0] += a[k] * b[k];
    }
    for (lane = 1; lane < 8; lane++) {
        part[0] += part[lane];
    }
    return part[0];
}

/* sum[n] += factor * values[n] */
static void add(homeo_real *restrict sum, homeo_real factor, const homeo_real *restrict values, int32_t size)
{
    int32_t n;

    for (n = 0; n < size; n++) {
        sum[n] += factor * values[n];
    }
}

/* One observation: what is heard, and what has to be answered -------------------------------------------------- */

/* Events that are heard go to events[0], spikes that have to be fired to events[1]; graded inputs are returned. */
static const homeo_real *hear(homeo *h)
{
    const homeo_policy *p = h->policy;
    const int layer = h->job.layer;
    const int32_t m = h->job.observation, imagined = m - p->observations, size = p->layer[layer].size;
    const size_t bytes = homeo_row_bytes(p, size);

    if (homeo_fires(p, layer)) {
        homeo_unpack(h, imagined < 0 ? p->layer[layer].answer + (size_t)m * bytes
                                     : h->dream[layer] + (size_t)imagined * bytes, size, &h->events[1]);
    }
    return homeo_receive(h, layer, m, !of_model(h), &h->events[0]);
}

/* Potentials [T][size] of the layer with weights `matrix` when it fires the spikes of events[1]; `linear`: only what
 * its currents add to them. */
static void force(homeo *h, homeo_real *matrix, const homeo_real *graded, int linear, homeo_real *path)
{
    const homeo_layer *l = layer_of(h);
    homeo_run run = {0};
    int32_t n;

    run.u = h->scratch + ROW_U * h->widest;
    run.v = h->scratch + ROW_V * h->widest;
    run.s = h->scratch + ROW_S * h->widest;
    for (n = 0; n < l->size; n++) {
        run.u[n] = run.s[n] = R(0);
        run.v[n] = linear || l->initial == NULL ? R(0) : l->initial[n];
    }
    run.policy = h->policy;
    run.layer = l;
    run.weight = matrix;
    run.bias = matrix_row(h, matrix, l->inputs);
    run.scale = run.share = R(1);
    run.graded = graded;
    run.in = &h->events[0];
    run.forced = &h->events[1];
    run.linear = linear;
    run.fires = homeo_fires(h->policy, h->job.layer);
    run.rate = h->scratch + ROW_ACTIVITY * h->widest;
    run.path = path;
    run.widest = h->widest;
    homeo_run_layer(&run, h->scratch);
}

/* How far potentials of spike step t are from where they have to be, 0 where they keep the margin: in their place. */
static void miss(homeo *h, int32_t t, homeo_real *potential)
{
    const homeo_policy *p = h->policy;
    const int layer = h->job.layer;
    const int32_t size = p->layer[layer].size, imagined = h->job.observation - p->observations;
    const homeo_real level = p->threshold, margin = MARGIN * level;
    homeo_real *s = h->scratch + ROW_S * h->widest;
    int32_t n;

    if (homeo_fires(p, layer)) {
        homeo_spread(&h->events[1], t, h->widest, s, size);
        for (n = 0; n < size; n++) {
            const homeo_real sign = R(2) * s[n] - R(1);

            potential[n] = MAX(margin - sign * (potential[n] - level), R(0)) * sign;
        }
    } else {
        const size_t step = (size_t)(imagined < 0 ? h->job.observation : imagined) * (size_t)p->steps + (size_t)t;
        const homeo_real *target = (imagined < 0 ? p->layer[layer].potential : h->dream_potential) + step * (size_t)size;

        for (n = 0; n < size; n++) {
            potential[n] = target[n] - potential[n];
        }
    }
}

/* The gradient of sum(push * potentials) with respect to the currents, in the place of `push` [T][size]. */
static void adjoin(const homeo *h, homeo_real *push)
{
    const homeo_policy *p = h->policy;
    const homeo_layer *l = layer_of(h);
    const int32_t size = l->size;
    const int gated = homeo_fires(p, h->job.layer) && (p->neuron == HOMEO_CURRENT_LIF || p->hard);
    const homeo_real kept = p->neuron == HOMEO_CURRENT_LIF ? p->voltage_decay
                            : p->neuron == HOMEO_IF        ? R(1)
                                                           : R(1) - R(1) / l->tau;
    const homeo_real held = p->neuron == HOMEO_CURRENT_LIF ? p->current_decay : R(0);
    const homeo_real taken = p->neuron == HOMEO_LIF ? R(1) / l->tau : R(1);
    homeo_real *restrict v = h->scratch + ROW_V * h->widest, *restrict u = h->scratch + ROW_U * h->widest;
    homeo_real *s = h->scratch + ROW_S * h->widest;
    int32_t n, t;

    for (n = 0; n < size; n++) {
        u[n] = v[n] = s[n] = R(0);
    }
    for (t = p->steps - 1; t >= 0; t--) {
        homeo_real *restrict row = push + (size_t)t * (size_t)size;

        if (gated) {
            homeo_spread(&h->events[1], t, h->widest, s, size);
        }
        for (n = 0; n < size; n++) {
            v[n] = row[n] + kept * (R(1) - s[n]) * v[n];
            u[n] = taken * v[n] + held * u[n];
            row[n] = u[n];
        }
    }
}

/* Add what spike step t (or graded inputs, which are the same at all steps) makes of `values` [size] to a matrix. */
static void scatter(homeo *h, const homeo_real *graded, int32_t t, const homeo_real *values, homeo_real *matrix)
{
    const homeo_layer *l = layer_of(h);
    const uint16_t *place = h->events[0].place + (size_t)t * (size_t)h->widest;
    int32_t k;

    for (k = 0; graded != NULL && k < l->inputs; k++) {
        add(matrix_row(h, matrix, k), graded[k], values, l->size);
    }
    for (k = 0; graded == NULL && k < h->events[0].count[t]; k++) {
        add(matrix_row(h, matrix, place[k]), R(1), values, l->size);
    }
    add(matrix_row(h, matrix, l->inputs), R(1), values, l->size);
}

/* Slices of one observation ------------------------------------------------------------------------------------ */

/* Products of all pairs of inputs, with a last input of 1. */
static void gather_gram(homeo *h)
{
    const homeo_policy *p = h->policy;
    const int32_t inputs = layer_of(h)->inputs;
    const homeo_real *graded = homeo_receive(h, h->job.layer, h->job.observation, !of_model(h), &h->events[0]);
    const homeo_real steps = R(p->steps);
    int32_t i, k, t;

    for (i = 0; graded != NULL && i < inputs; i++) {
        add(triangle_row(h, i), steps * graded[i], graded, i + 1);
    }
    if (graded != NULL) {
        add(triangle_row(h, inputs), steps, graded, inputs);
        triangle_row(h, inputs)[inputs] += steps;
        return;
    }
    for (t = 0; t < p->steps; t++) {
        const uint16_t *place = h->events[0].place + (size_t)t * (size_t)h->widest;
        const int32_t count = h->events[0].count[t];
        homeo_real *last = triangle_row(h, inputs);

        for (i = 0; i < count; i++) {
            homeo_real *row = triangle_row(h, place[i]);

            for (k = 0; k <= i; k++) {
                row[place[k]] += R(1);
            }
            last[place[i]] += R(1);
        }
        last[inputs] += R(1);
    }
}

static void add_gradient(homeo *h)
{
    const homeo_policy *p = h->policy;
    const homeo_real *graded = hear(h);
    const int32_t size = layer_of(h)->size;
    homeo_real *sum = h->scratch + ROW_TOTAL * h->widest, *path = h->path[0];
    int32_t n, t;

    force(h, h->fit, graded, 0, path);
    for (t = 0; t < p->steps; t++) {
        miss(h, t, path + (size_t)t * (size_t)size);
    }
    adjoin(h, path);
    for (n = 0; n < size; n++) {
        sum[n] = R(0);
    }
    for (t = 0; t < p->steps; t++) {
        if (graded == NULL) {
            scatter(h, NULL, t, path + (size_t)t * (size_t)size, h->push);
        } else {
            add(sum, R(1), path + (size_t)t * (size_t)size, size);
        }
    }
    if (graded != NULL) {
        scatter(h, graded, 0, sum, h->push);
    }
}

/* Slope and curvature of each neuron's loss along the direction, LENGTH from where the fit is. */
static void look_along(homeo *h)
{
    const homeo_policy *p = h->policy;
    const homeo_real *graded = hear(h), *restrict length = homeo_row(h, LENGTH);
    const int32_t size = layer_of(h)->size;
    const int fires = homeo_fires(p, h->job.layer);
    homeo_real *restrict slope = homeo_row(h, SLOPE), *restrict curve = homeo_row(h, CURVE);
    int32_t n, t;

    force(h, h->fit, graded, 0, h->path[0]);
    force(h, h->direction, graded, 1, h->path[1]);
    for (t = 0; t < p->steps; t++) {
        homeo_real *restrict missing = h->path[0] + (size_t)t * (size_t)size;
        const homeo_real *restrict step = h->path[1] + (size_t)t * (size_t)size;

        for (n = 0; n < size; n++) {
            missing[n] = missing[n] + length[n] * step[n];
        }
        miss(h, t, missing);
        for (n = 0; n < size; n++) {
            slope[n] += missing[n] * step[n];
            curve[n] += missing[n] != R(0) || !fires ? step[n] * step[n] : R(0);
        }
    }
}

/* Currents of one spike step with weights `matrix`, times `sign`. */
static void add_currents(const homeo *h, homeo_real *matrix, const homeo_real *graded, const homeo_events *events,
                         int32_t t, homeo_real sign, homeo_real *sum)
{
    const homeo_layer *l = layer_of(h);
    const uint16_t *place = events->place + (size_t)t * (size_t)h->widest;
    int32_t k;

    for (k = 0; graded != NULL && k < l->inputs; k++) {
        add(sum, sign * graded[k], matrix_row(h, matrix, k), l->size);
    }
    for (k = 0; graded == NULL && k < events->count[t]; k++) {
        add(sum, sign, matrix_row(h, matrix, place[k]), l->size);
    }
    add(sum, sign, matrix_row(h, matrix, l->inputs), l->size);
}

/* Currents of the healthy model on what it received, less those of the fit on what is received now. */
static void add_residual(homeo *h)
{
    const homeo_policy *p = h->policy;
    const int layer = h->job.layer;
    const homeo_real *before = homeo_receive(h, layer, h->job.observation, 0, &h->events[1]);
    const homeo_real *graded = homeo_receive(h, layer, h->job.observation, 1, &h->events[0]);
    homeo_real *sum = h->scratch + ROW_TOTAL * h->widest;
    int32_t n, t;

    for (t = 0; t < (graded == NULL ? p->steps : 1); t++) {
        for (n = 0; n < layer_of(h)->size; n++) {
            sum[n] = R(0);
        }
        add_currents(h, h->model[layer], before, &h->events[1], t, R(1), sum);
        add_currents(h, h->fit, graded, &h->events[0], t, R(-1), sum);
        for (n = 0; graded != NULL && n < layer_of(h)->size; n++) {
            sum[n] *= R(p->steps);
        }
        scatter(h, graded, t, sum, h->push);
    }
}

/* Slices of one row -------------------------------------------------------------------------------------------- */

static void begin_row(homeo *h, int32_t k)
{
    const homeo_real *centre = centre_of(h, k, free_of(h, k));
    homeo_real *restrict fit = matrix_row(h, h->fit, k), *restrict push = matrix_row(h, h->push, k);
    homeo_real *restrict ahead = matrix_row(h, h->ahead, k), *restrict direction = matrix_row(h, h->direction, k);
    int32_t n;

    for (n = 0; n < layer_of(h)->size; n++) {
        fit[n] = centre[n];
        push[n] = ahead[n] = direction[n] = R(0);
    }
    for (n = 0; n <= k; n++) {
        triangle_row(h, k)[n] = R(0);
    }
}

/* Row i of the Cholesky factor of roughly the Hessian, in its place. */
static void factor_row(homeo *h, int32_t i)
{
    homeo_real *row = triangle_row(h, i);
    int32_t j;

    for (j = 0; j < i; j++) {
        row[j] = (R(0.25) * row[j] - dot(row, triangle_row(h, j), j)) / triangle_row(h, j)[j];
    }
    row[i] = SQRT(MAX(R(0.25) * row[i] + h->job.largest - dot(row, row, i), SMALLEST));
}

/* The gradient of a row, its product with what was ahead before, and the first half of solving for what is ahead. */
static void forward_row(homeo *h, int32_t i)
{
    const int32_t size = layer_of(h)->size;
    const homeo_real *mask = free_of(h, i), *centre = centre_of(h, i, mask), weight = weight_of(h);
    const homeo_real *fit = matrix_row(h, h->fit, i), *row = triangle_row(h, i);
    homeo_real *gradient = matrix_row(h, h->push, i), *ahead = matrix_row(h, h->ahead, i);
    homeo_real *cross = homeo_row(h, CROSS);
    int32_t k, n;

    for (n = 0; n < size; n++) {
        gradient[n] = (gradient[n] - weight * (fit[n] - centre[n])) * mask[n];
        cross[n] += ahead[n] * gradient[n];
        ahead[n] = gradient[n];
    }
    for (k = 0; k < i; k++) {
        add(ahead, -row[k], matrix_row(h, h->ahead, k), size);
    }
    for (n = 0; n < size; n++) {
        ahead[n] /= row[i];
    }
}

static void backward_row(homeo *h, int32_t i)
{
    const int32_t size = layer_of(h)->size, last = layer_of(h)->inputs;
    homeo_real *ahead = matrix_row(h, h->ahead, i);
    int32_t k, n;

    for (k = i + 1; k <= last; k++) {
        add(ahead, -triangle_row(h, k)[i], matrix_row(h, h->ahead, k), size);
    }
    for (n = 0; n < size; n++) {
        ahead[n] /= triangle_row(h, i)[i];
    }
}

static void project_row(homeo *h, int32_t k)
{
    const homeo_real *mask = free_of(h, k), *gradient = matrix_row(h, h->push, k);
    homeo_real *ahead = matrix_row(h, h->ahead, k), *product = homeo_row(h, PRODUCT);
    int32_t n;

    for (n = 0; n < layer_of(h)->size; n++) {
        ahead[n] *= mask[n];
        product[n] += gradient[n] * ahead[n];
    }
}

/* The direction, conjugate to those before (Polak and Ribiere), with the penalty's slope and curvature along it. */
static void turn_row(homeo *h, int32_t k)
{
    const homeo_real *centre = centre_of(h, k, free_of(h, k)), weight = weight_of(h);
    const homeo_real *ahead = matrix_row(h, h->ahead, k), *fit = matrix_row(h, h->fit, k);
    const homeo_real *product = homeo_row(h, PRODUCT), *cross = homeo_row(h, CROSS), *before = homeo_row(h, BEFORE);
    homeo_real *direction = matrix_row(h, h->direction, k), *pull = homeo_row(h, PULL), *stiff = homeo_row(h, STIFF);
    int32_t n;

    for (n = 0; n < layer_of(h)->size; n++) {
        const homeo_real beta = h->job.pass > 0 ? (product[n] - cross[n]) / MAX(before[n], SMALLEST) : R(0);

        direction[n] = ahead[n] + MAX(beta, R(0)) * direction[n];
        pull[n] += weight * (fit[n] - centre[n]) * direction[n];
        stiff[n] += weight * (direction[n] * direction[n]);
    }
}

static void move_row(homeo *h, int32_t k)
{
    const homeo_real *length = homeo_row(h, LENGTH), *direction = matrix_row(h, h->direction, k);
    homeo_real *fit = matrix_row(h, h->fit, k), *push = matrix_row(h, h->push, k);
    int32_t n;

    for (n = 0; n < layer_of(h)->size; n++) {
        fit[n] += length[n] * direction[n];
        push[n] = R(0);
    }
}

static homeo_real scale_of(const homeo *h, int32_t k)
{
    return MAX(triangle_row(h, k)[k], R(1e-12));
}

static void aim_row(homeo *h, int32_t k)
{
    const homeo_real *mask = free_of(h, k), scale = scale_of(h, k);
    homeo_real *residual = matrix_row(h, h->push, k), *direction = matrix_row(h, h->direction, k);
    int32_t n;

    for (n = 0; n < layer_of(h)->size; n++) {
        residual[n] *= mask[n];
        direction[n] = residual[n] / scale;
        homeo_row(h, PRODUCT)[n] += residual[n] * direction[n];
    }
}

static void image_row(homeo *h, int32_t i)
{
    const int32_t size = layer_of(h)->size, last = layer_of(h)->inputs;
    const homeo_real *mask = free_of(h, i), *direction = matrix_row(h, h->direction, i);
    homeo_real *image = matrix_row(h, h->ahead, i);
    int32_t k, n;

    for (n = 0; n < size; n++) {
        image[n] = R(0);
    }
    for (k = 0; k <= last; k++) {
        add(image, k <= i ? triangle_row(h, i)[k] : triangle_row(h, k)[i], matrix_row(h, h->direction, k), size);
    }
    for (n = 0; n < size; n++) {
        image[n] *= mask[n];
        homeo_row(h, CURVE)[n] += direction[n] * image[n];
    }
}

static void step_row(homeo *h, int32_t k)
{
    const homeo_real *direction = matrix_row(h, h->direction, k), *image = matrix_row(h, h->ahead, k);
    const homeo_real scale = scale_of(h, k);
    homeo_real *fit = matrix_row(h, h->fit, k), *residual = matrix_row(h, h->push, k);
    int32_t n;

    for (n = 0; n < layer_of(h)->size; n++) {
        const homeo_real length = homeo_row(h, PRODUCT)[n] / MAX(homeo_row(h, CURVE)[n], SMALLEST);

        fit[n] += length * direction[n];
        residual[n] -= length * image[n];
        homeo_row(h, CROSS)[n] += residual[n] * (residual[n] / scale);
    }
}

static void aim_again_row(homeo *h, int32_t k)
{
    const homeo_real *residual = matrix_row(h, h->push, k), scale = scale_of(h, k);
    homeo_real *direction = matrix_row(h, h->direction, k);
    int32_t n;

    for (n = 0; n < layer_of(h)->size; n++) {
        direction[n] = residual[n] / scale +
                       (homeo_row(h, CROSS)[n] / MAX(homeo_row(h, PRODUCT)[n], SMALLEST)) * direction[n];
    }
}

/* Phases ------------------------------------------------------------------------------------------------------- */

void homeo_begin_fit(homeo *h, int kind)
{
    h->job.fit = kind;
    h->job.pass = 0;
    homeo_sweep(h, PHASE_FIT, layer_of(h)->inputs + 1);
}

void homeo_fit_step(homeo *h)
{
    const int32_t k = h->job.observation;

    switch (h->job.phase) {
    case PHASE_FIT: begin_row(h, k); break;
    case PHASE_GRAM: gather_gram(h); break;
    case PHASE_FACTOR: factor_row(h, k); break;
    case PHASE_GRADIENT: add_gradient(h); break;
    case PHASE_FORWARD: forward_row(h, k); break;
    case PHASE_BACKWARD: backward_row(h, layer_of(h)->inputs - k); break;
    case PHASE_PROJECT: project_row(h, k); break;
    case PHASE_TURN: turn_row(h, k); break;
    case PHASE_LINE: look_along(h); break;
    case PHASE_MOVE: move_row(h, k); break;
    case PHASE_RESIDUAL: add_residual(h); break;
    case PHASE_AIM: aim_row(h, k); break;
    case PHASE_IMAGE: image_row(h, k); break;
    case PHASE_STEP: step_row(h, k); break;
    default: aim_again_row(h, k);
    }
}

static void after_gram(homeo *h)
{
    const int32_t count = layer_of(h)->inputs + 1;
    homeo_real total = R(0);
    int32_t k;

    for (k = 0; k < count; k++) {
        total += R(0.25) * triangle_row(h, k)[k];
        if (!by_spikes(h)) {
            triangle_row(h, k)[k] += weight_of(h);
        }
    }
    h->job.largest = weight_of(h) + R(1e-5) * (total / R(count)) + R(1e-12);
    if (by_spikes(h)) {
        homeo_sweep(h, PHASE_FACTOR, count);
    } else {
        homeo_sweep(h, PHASE_RESIDUAL, rows_of(h));
    }
}

/* A Newton step on each neuron's piecewise quadratic loss along the direction. */
static void after_line(homeo *h)
{
    const int32_t count = layer_of(h)->inputs + 1;
    homeo_real *length = homeo_row(h, LENGTH), *slope = homeo_row(h, SLOPE), *curve = homeo_row(h, CURVE);
    const homeo_real *pull = homeo_row(h, PULL), *stiff = homeo_row(h, STIFF);
    int32_t n;

    for (n = 0; n < layer_of(h)->size; n++) {
        length[n] += (slope[n] - pull[n] - length[n] * stiff[n]) / MAX(curve[n] + stiff[n], SMALLEST);
        slope[n] = curve[n] = R(0);
    }
    if (++h->job.stage < 2) {
        homeo_sweep(h, PHASE_LINE, rows_of(h));
    } else {
        homeo_sweep(h, PHASE_MOVE, count);
    }
}

static void begin_pass(homeo *h)
{
    int32_t n;

    for (n = 0; n < layer_of(h)->size; n++) {
        homeo_row(h, BEFORE)[n] = homeo_row(h, PRODUCT)[n];
    }
    clear(h, PRODUCT);
    clear(h, CROSS);
    clear(h, LENGTH);
    clear(h, SLOPE);
    clear(h, CURVE);
    clear(h, PULL);
    clear(h, STIFF);
    h->job.stage = 0;
    homeo_sweep(h, PHASE_GRADIENT, rows_of(h));
}

/* What follows a sweep of a fit. Returns whether the fit is complete, in h->fit. */
int homeo_after_fit(homeo *h)
{
    homeo_job *job = &h->job;
    const int32_t count = layer_of(h)->inputs + 1;

    switch (job->phase) {
    case PHASE_FIT:
        if (job->fit == FIT_CENTRE) {
            return 1;
        }
        homeo_sweep(h, PHASE_GRAM, rows_of(h));
        break;
    case PHASE_GRAM: after_gram(h); break;
    case PHASE_FACTOR:
        clear(h, PRODUCT);
        begin_pass(h);
        break;
    case PHASE_GRADIENT: homeo_sweep(h, PHASE_FORWARD, count); break;
    case PHASE_FORWARD: homeo_sweep(h, PHASE_BACKWARD, count); break;
    case PHASE_BACKWARD: homeo_sweep(h, PHASE_PROJECT, count); break;
    case PHASE_PROJECT: homeo_sweep(h, PHASE_TURN, count); break;
    case PHASE_TURN: homeo_sweep(h, PHASE_LINE, rows_of(h)); break;
    case PHASE_LINE: after_line(h); break;
    case PHASE_MOVE:
        if (++job->pass == (of_model(h) ? MODEL_PASSES : SPIKE_PASSES)) {
            return 1;
        }
        begin_pass(h);
        break;
    case PHASE_RESIDUAL:
        clear(h, PRODUCT);
        homeo_sweep(h, PHASE_AIM, count);
        break;
    case PHASE_STEP:
        if (++job->pass == RIDGE_ITERATIONS) {
            return 1;
        }
        homeo_sweep(h, PHASE_AIM_AGAIN, count);
        break;
    case PHASE_IMAGE: homeo_sweep(h, PHASE_STEP, count); break;
    default: /* PHASE_AIM and PHASE_AIM_AGAIN */
        if (job->phase == PHASE_AIM_AGAIN) {
            int32_t n;

            for (n = 0; n < layer_of(h)->size; n++) {
                homeo_row(h, PRODUCT)[n] = homeo_row(h, CROSS)[n];
            }
        }
        clear(h, CURVE);
        clear(h, CROSS);
        homeo_sweep(h, PHASE_IMAGE, count);
    }
    return 0;
}

/* Form "best" of sleep: candidates compete layer by layer, and the one whose actions come closest to the healthy ones
 * is kept. What competes, in which order, and how it is judged is that of the Python package's snn/offline_repair.
 *
 * First a healthy model of every layer is found, which explains every remembered spike; then the models answer in
 * dreams, observations that nobody stored; then layer after layer is repaired. Every slice is one observation (judged:
 * one decision), or one row of a layer's weights. */
#include "homeo_internal.h"

enum { PROBES = 40, JUDGED = 200, POWERS = 9, REFINEMENTS = 8 };
enum { START_NOW, START_SCALED, START_SCALED_WEIGHTS, START_CLIPPED, START_COPY, STARTS };
enum { WRITES_TRIED, WRITES_CHOSEN, WRITES_HEALTHY };

static const homeo_layer *layer_of(const homeo *h)
{
    return &h->policy->layer[h->job.layer];
}

static size_t matrix_size(const homeo_layer *l)
{
    return ((size_t)l->inputs + 1u) * (size_t)l->size;
}

/* A layer with the weights of a matrix [inputs + 1][size], all of its neurons alive. */
static homeo_played alive(const homeo_layer *l, const homeo_real *matrix)
{
    const homeo_played played = {matrix, matrix + (size_t)l->inputs * (size_t)l->size, NULL, R(1), R(1), NULL};

    return played;
}

/* Healthy models ----------------------------------------------------------------------------------------------- */

static void begin_model(homeo *h, int layer)
{
    h->job.layer = layer;
    homeo_sweep(h, PHASE_MODEL_NOW, h->policy->observations);
}

void homeo_begin_competition(homeo *h)
{
    begin_model(h, 0);
}

static int32_t probes_of(const homeo *h)
{
    return MIN(PROBES, h->policy->observations);
}

/* Mean distance of what a sweep over `count` observations added up. */
static homeo_real distance_of(const homeo *h)
{
    return h->job.total / R(h->job.count) / R(layer_of(h)->size);
}

/* Let the layer, all of its neurons alive, answer what it remembers to have heard. */
static void explain(homeo *h)
{
    homeo_job *job = &h->job;
    const homeo_layer *l = layer_of(h);
    homeo_played played = {h->live.weight[job->layer], h->live.bias[job->layer], NULL, R(1), R(1), NULL};
    homeo_real *out = homeo_row(h, SUM_OUT);
    int32_t n;

    if (job->phase == PHASE_MODEL_SCALE) {
        played.scale = job->factor;
        played.share = job->share;
    } else if (job->phase != PHASE_MODEL_NOW) {
        played = alive(l, job->phase == PHASE_MODEL_START ? h->fit : h->model[job->layer]);
    }
    homeo_replay(h, job->layer, &played, homeo_receive(h, job->layer, job->observation, 0, &h->events[0]), 0, out);
    for (n = 0; n < l->size; n++) {
        job->total += ABS(out[n] - homeo_remembered(h, job->layer, job->observation, n, 0));
    }
}

/* The search for a factor: powers of two (stage 0), then steps around the best, first with biases that have that factor
 * too (stage 1), then with biases as they are (stage 2; pass -1 is its start). */
static void try_factor(homeo *h)
{
    static const homeo_real powers[POWERS] = {R(1),       R(0x1p-10), R(0x1p-8), R(0x1p-6), R(0x1p-4),
                                              R(0x1p-2), R(4),       R(0.5),    R(2)};
    static const homeo_real up[REFINEMENTS] = {R(1.4142135623730951), R(1.1892071150027210), R(1.0905077326652577),
                                               R(1.0442737824274138), R(1.0218971486541166), R(1.0104514464867638),
                                               R(1.0048638204237854), R(1.0020816050796328)};
    static const homeo_real down[REFINEMENTS] = {R(0.7071067811865476), R(0.8408964152537145), R(0.9170040432046712),
                                                 R(0.9576032806985737), R(0.9785720620877001), R(0.9896566564152070),
                                                 R(0.9951597218200828), R(0.9979227189990506)};
    homeo_job *job = &h->job;

    if (job->stage == 0) {
        job->factor = powers[job->pass];
    } else if (job->pass < 0) {
        job->factor = job->center_factor;
    } else {
        job->factor = job->center_factor * (job->pass % 2 == 0 ? up : down)[job->pass / 2];
    }
    job->share = job->stage == 2 ? R(1) : job->factor;
    homeo_sweep(h, PHASE_MODEL_SCALE, probes_of(h));
}

static void begin_start(homeo *h, int kind, int writes)
{
    h->job.start = kind;
    h->job.writes = writes;
    homeo_sweep(h, PHASE_MODEL_WRITE, layer_of(h)->inputs + 1);
}

/* The next start from `kind` on; without another one the best. */
static void next_start(homeo *h, int kind)
{
    const homeo_job *job = &h->job;

    if (kind == START_SCALED && job->factors[0] == R(1)) {
        kind++;
    }
    if (kind == START_SCALED_WEIGHTS && job->factors[1] == R(1)) {
        kind++;
    }
    if (kind == START_CLIPPED && h->policy->bits == 0) {
        kind = STARTS;
    }
    if (kind < STARTS) {
        begin_start(h, kind, WRITES_TRIED);
    } else {
        begin_start(h, job->best_start, WRITES_CHOSEN);
    }
}

static void after_scale(homeo *h)
{
    homeo_job *job = &h->job;
    const homeo_real error = distance_of(h);
    int over;

    if (job->pass < 0 || (job->stage == 0 && job->pass == 0) || error < job->best_error) {
        job->best_error = error;
        job->best_factor = job->factor;
    }
    job->pass++;
    if (job->stage == 0) {
        over = job->pass == POWERS;
        if (over) {
            job->center_factor = job->first_factor = job->best_factor;
        }
    } else {
        if (job->pass % 2 == 0) {
            job->center_factor = job->best_factor;
        }
        over = job->pass == 2 * REFINEMENTS ||
               (job->pass % 2 == 0 && job->pass > 2 && job->center_factor == R(1)); /* noise, not scale */
    }
    if (over && job->stage > 0) {
        job->factors[job->stage - 1] = job->center_factor;
    }
    if (over && job->stage == 2) {
        job->best_start = START_NOW;
        next_start(h, START_NOW);
        return;
    }
    if (over) {
        job->stage++;
        job->pass = job->stage == 2 ? -1 : 0;
        job->center_factor = job->first_factor;
    }
    try_factor(h);
}

/* The middle of the cell of a weight in the copy, and half of a cell's width. */
static homeo_real copied(const homeo *h, int32_t k, int32_t n, homeo_real *half)
{
    const homeo_layer *l = layer_of(h);
    const size_t first = ((size_t)k * (size_t)l->size + (size_t)n) * (size_t)h->policy->bits;
    uint32_t cell = 0;
    int32_t b;

    for (b = 0; b < h->policy->bits; b++) {
        const size_t bit = first + (size_t)b;

        cell |= (uint32_t)(l->copy[bit >> 3] >> (bit & 7u) & 1) << b;
    }
    *half = l->copy_scale[n] / R((uint32_t)1 << h->policy->bits);
    return (R(cell) + R(0.5)) * (R(2) * *half) - l->copy_scale[n];
}

/* One row of a start, into the model, or to be tried into h->fit. */
static void write_start(homeo *h)
{
    const homeo_job *job = &h->job;
    const homeo_layer *l = layer_of(h);
    const int32_t k = job->observation;
    const size_t first = (size_t)k * (size_t)l->size;
    const homeo_real *now = k == l->inputs ? h->live.bias[job->layer] : h->live.weight[job->layer] + first;
    homeo_real *target = (job->writes == WRITES_TRIED ? h->fit : h->model[job->layer]) + first;
    homeo_real factor = R(1), half;
    int32_t n;

    if (job->start == START_SCALED || (job->start == START_SCALED_WEIGHTS && k < l->inputs)) {
        factor = job->factors[job->start - START_SCALED];
    }
    for (n = 0; n < l->size; n++) {
        target[n] = now[n] * factor;
        if (job->start >= START_CLIPPED) {
            const homeo_real centre = copied(h, k, n, &half), above = MAX(now[n], centre - half);

            target[n] = job->start == START_COPY ? centre : MIN(above, centre + half);
        }
    }
}

static void dream_layer(homeo *h, int layer)
{
    h->job.layer = layer;
    homeo_sweep(h, PHASE_DREAM, h->policy->dreams);
}

static void next_model(homeo *h)
{
    if (h->job.layer + 1 < h->policy->layers) {
        begin_model(h, h->job.layer + 1);
    } else if (h->policy->dreams > 0) {
        dream_layer(h, 0);
    } else {
        homeo_begin_candidates(h, 0);
    }
}

static void after_now(homeo *h)
{
    if (distance_of(h) <= h->policy->tolerance) {
        begin_start(h, START_NOW, WRITES_HEALTHY);
        return;
    }
    h->job.stage = h->job.pass = 0;
    try_factor(h);
}

static void after_write(homeo *h)
{
    switch (h->job.writes) {
    case WRITES_TRIED: homeo_sweep(h, PHASE_MODEL_START, probes_of(h)); break;
    case WRITES_CHOSEN:
        h->job.fit = FIT_NONE;
        homeo_sweep(h, PHASE_MODEL_TEST, h->policy->observations);
        break;
    default: next_model(h);
    }
}

static void after_start(homeo *h)
{
    homeo_job *job = &h->job;
    const homeo_real error = distance_of(h);

    if (job->start == START_NOW || error < job->best_error) {
        job->best_error = error;
        job->best_start = job->start;
    }
    next_start(h, job->start + 1);
}

static int has_lost(const homeo *h)
{
    const homeo_layer *l = layer_of(h);
    size_t k;

    for (k = 0; k < (size_t)l->inputs * (size_t)l->size; k++) {
        if (h->live.weight[h->job.layer][k] == R(0)) {
            return 1;
        }
    }
    return 0;
}

/* A model that does not explain enough is fitted: first by the synapses that are gone, then by all. */
static void after_test(homeo *h)
{
    const homeo_policy *p = h->policy;
    const int first = h->job.fit == FIT_NONE;

    if (p->steps > HOMEO_FORCED_STEPS || distance_of(h) <= (first ? p->explained : p->deleted)) {
        next_model(h);
    } else {
        homeo_begin_fit(h, first && has_lost(h) ? FIT_LOST : FIT_ALL);
    }
}

static void after_model_fit(homeo *h)
{
    homeo_real *model = h->model[h->job.layer];
    size_t k;

    if (homeo_finite(h->fit, matrix_size(layer_of(h)))) {
        for (k = 0; k < matrix_size(layer_of(h)); k++) {
            model[k] = h->fit[k];
        }
    }
    if (h->job.fit == FIT_LOST) {
        homeo_sweep(h, PHASE_MODEL_TEST, h->policy->observations);
    } else {
        next_model(h);
    }
}

/* Dreams ------------------------------------------------------------------------------------------------------- */

static void dream(homeo *h)
{
    const homeo_policy *p = h->policy;
    const int layer = h->job.layer;
    const int32_t size = p->layer[layer].size, d = h->job.observation;
    const homeo_real *graded = homeo_receive(h, layer, p->observations + d, 0, &h->events[0]);
    homeo_played played = alive(&p->layer[layer], h->model[layer]);

    if (!homeo_fires(p, layer)) {
        played.path = h->dream_potential + (size_t)d * (size_t)p->steps * (size_t)size;
    }
    homeo_replay(h, layer, &played, graded, 0, homeo_row(h, SUM_OUT));
    if (homeo_fires(p, layer)) {
        homeo_pack(h, &h->events[1], size, h->dream[layer] + (size_t)d * homeo_row_bytes(p, size));
    }
}

static void after_dream(homeo *h)
{
    if (h->job.layer + 1 < h->policy->layers) {
        dream_layer(h, h->job.layer + 1);
    } else {
        homeo_begin_candidates(h, 0);
    }
}

/* Candidates --------------------------------------------------------------------------------------------------- */

/* Remembered and dreamed observations that are judged: from the middle of the memory on. */
static void begin_judging(homeo *h)
{
    const homeo_policy *p = h->policy;

    h->job.first = p->observations / 2;
    homeo_sweep(h, PHASE_JUDGE, MIN(JUDGED, p->observations + p->dreams - h->job.first));
}

void homeo_begin_candidates(homeo *h, int layer)
{
    const homeo_layer *l = &h->policy->layer[layer];
    size_t k;
    int32_t n;

    h->job.layer = layer;
    for (k = 0; k < (size_t)l->size * (size_t)l->inputs; k++) {
        h->next_weight[layer][k] = h->live.weight[layer][k];
    }
    for (n = 0; n < l->size; n++) {
        h->next_bias[layer][n] = h->live.bias[layer][n];
    }
    h->job.candidate = h->job.kept[layer] = HOMEO_KEEP;
    begin_judging(h);
}

/* What the healthy network does in observation m, as actions of one scale. */
static void act_healthy(homeo *h, int32_t m, homeo_real *y, homeo_real *action)
{
    const homeo_policy *p = h->policy;
    const int last = p->layers - 1;
    const int32_t size = p->layer[last].size, imagined = m - p->observations;
    const size_t bytes = homeo_row_bytes(p, size), row = (size_t)(imagined < 0 ? m : imagined);
    homeo_real *count = homeo_row(h, SUM_OUT), *s = h->scratch + ROW_S * h->widest;
    const homeo_real *v = NULL;
    int32_t n, t;

    for (n = 0; n < size; n++) {
        count[n] = s[n] = R(0);
    }
    if (homeo_fires(p, last)) {
        homeo_unpack(h, (imagined < 0 ? p->layer[last].answer : h->dream[last]) + row * bytes, size, &h->events[0]);
        for (t = 0; t < p->steps; t++) {
            homeo_spread(&h->events[0], t, h->widest, s, size);
            for (n = 0; n < size; n++) {
                count[n] += s[n];
            }
        }
    } else {
        v = (imagined < 0 ? p->layer[last].potential : h->dream_potential) +
            (row * (size_t)p->steps + (size_t)p->steps - 1u) * (size_t)size;
    }
    homeo_read_out(p, count, s, v, y);
    homeo_squash(p, y, action);
}

/* The repaired layers before it, the candidate, and after it the healthy models act on one observation. */
static void judge(homeo *h)
{
    const homeo_policy *p = h->policy;
    homeo_job *job = &h->job;
    const homeo_layer *l = layer_of(h);
    const int32_t m = job->first + job->observation, entries = p->squash == HOMEO_CHOICE ? p->outputs : p->actions;
    const homeo_real *graded = homeo_receive(h, job->layer, m, 1, &h->events[0]);
    homeo_real *y = homeo_row(h, SUM_MEAN), *action = homeo_row(h, SUM_SPREAD), *out = homeo_row(h, SUM_OUT);
    homeo_real *healthy = homeo_row(h, SUM_WANTED), *wanted = homeo_row(h, SUM_WANTED_SPREAD);
    homeo_played played = alive(l, h->fit);
    homeo_run run;
    int i, turn = 0;
    int32_t k;

    if (job->candidate == HOMEO_KEEP) {
        played.weight = h->live.weight[job->layer];
        played.bias = h->live.bias[job->layer];
    }
    played.flag = h->flag[job->layer];
    run = homeo_replay(h, job->layer, &played, graded, turn, out);
    for (i = job->layer + 1; i < p->layers; i++) {
        turn = 1 - turn;
        played = alive(&p->layer[i], h->model[i]);
        run = homeo_replay(h, i, &played, NULL, turn, out);
    }
    for (k = 0; run.fires && k < run.layer->size; k++) {
        out[k] *= R(p->steps);
    }
    homeo_read_out(p, out, run.s, run.v, y);
    homeo_squash(p, y, action);
    act_healthy(h, m, healthy, wanted);
    for (k = 0; k < entries; k++) {
        job->total += ABS(homeo_unit_action(p, action, y, k) - homeo_unit_action(p, wanted, healthy, k)) / R(entries);
    }
}

/* Begin the next candidate that is due: each is tried where the best before it leaves much of the layer's error. */
static void next_candidate(homeo *h)
{
    static const homeo_real above[HOMEO_DELTA + 1] = {R(0), R(0), R(0.25), R(0.75), R(0.75)};
    const homeo_policy *p = h->policy;
    homeo_job *job = &h->job;

    while (++job->candidate <= HOMEO_DELTA) {
        if (job->least <= above[job->candidate] * job->first_distance) {
            continue;
        }
        switch (job->candidate) {
        case HOMEO_MODEL: homeo_begin_fit(h, FIT_CENTRE); return;
        case HOMEO_SPIKES:
            if (p->steps > HOMEO_FORCED_STEPS) {
                break;
            }
            homeo_begin_fit(h, FIT_SPIKES);
            return;
        case HOMEO_RIDGE: homeo_begin_fit(h, FIT_RIDGE); return;
        default: homeo_begin_layer(h, job->layer); return;
        }
    }
    if (job->layer + 1 < p->layers) {
        homeo_sweep(h, PHASE_SEND, p->observations + p->dreams);
    } else {
        homeo_after_layer(h);
    }
}

/* Judge what lies in h->fit, if it is finite. */
void homeo_judge_fit(homeo *h)
{
    if (homeo_finite(h->fit, matrix_size(layer_of(h)))) {
        begin_judging(h);
    } else {
        next_candidate(h);
    }
}

static void after_judge(homeo *h)
{
    homeo_job *job = &h->job;
    const homeo_layer *l = layer_of(h);
    const size_t weights = (size_t)l->inputs * (size_t)l->size;
    size_t k;

    if (job->candidate == HOMEO_KEEP) {
        job->first_distance = job->least = job->total;
    } else if (job->total < job->least) {
        job->least = job->total;
        job->kept[job->layer] = job->candidate;
        for (k = 0; k < weights; k++) {
            h->next_weight[job->layer][k] = h->fit[k];
        }
        for (k = 0; k < (size_t)l->size; k++) {
            h->next_bias[job->layer][k] = h->fit[weights + k];
        }
    }
    next_candidate(h);
}

void homeo_compete_step(homeo *h)
{
    switch (h->job.phase) {
    case PHASE_MODEL_NOW:
    case PHASE_MODEL_SCALE:
    case PHASE_MODEL_START:
    case PHASE_MODEL_TEST: explain(h); break;
    case PHASE_MODEL_WRITE: write_start(h); break;
    case PHASE_DREAM: dream(h); break;
    case PHASE_JUDGE: judge(h); break;
    default: homeo_fit_step(h);
    }
}

void homeo_after_compete(homeo *h)
{
    switch (h->job.phase) {
    case PHASE_MODEL_NOW: after_now(h); break;
    case PHASE_MODEL_SCALE: after_scale(h); break;
    case PHASE_MODEL_WRITE: after_write(h); break;
    case PHASE_MODEL_START: after_start(h); break;
    case PHASE_MODEL_TEST: after_test(h); break;
    case PHASE_DREAM: after_dream(h); break;
    case PHASE_JUDGE: after_judge(h); break;
    default:
        if (!homeo_after_fit(h)) {
            break;
        }
        if (h->job.fit == FIT_LOST || h->job.fit == FIT_ALL) {
            after_model_fit(h);
        } else {
            homeo_judge_fit(h);
        }
    }
}

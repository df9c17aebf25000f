/* What the policy gets while the gate is open: the measurement, the estimate, or the measurement less a bias. The rules
 * are those of the Python package's observer/observer.py and observer/rehearsal.py.
 *
 * Where the evidence speaks for an estimate or a bias, the fault that was identified is put on remembered sequences, and
 * the actions of the healthy policy are compared with the remembered ones. That is cut into slices; they judge a copy of
 * the row, so that what comes in meanwhile changes nothing. Sequences follow one another: each needs one row. */
#include "homeo_internal.h"

#define LEAST_ERROR 2.0
#define BETTER 0.6
#define STILL_BETTER 0.75
#define NOT_WORSE 1.5
#define BIAS_BETTER 0.4
#define BIAS_STILL_BETTER 0.6
#define SUSPECT 0.25
#define MOST_SCALE 0.6
#define LEAST_SHARE 0.15
#define LEAST_MEAN_SHARE 0.04
#define LEAST_GAIN 0.02
#define FEW_DECISIONS 15.0
#define LAGS HOMEO_OBSERVER_LAGS

enum { REHEARSED_EVERY = 100, BIAS_EVERY = 10, EARLY = 30, FEW = 2, LEAST_BIAS_SINCE = 2 };
enum { PHASE_NONE, PHASE_OF_BIAS, PHASE_OF_ESTIMATE };
enum { DRAW_NORMAL, DRAW_OTHER, DRAW_UNIFORM, DRAW_CONSTANT };

static const int32_t rehearsed_at[] = {0, 4, 7, 10, 14, 20, 28, 40, 55, 70};

static size_t locate(const homeo_forward *f, int part)
{
    return homeo_observer_offset(f->entries, f->actions, part);
}

static const double *part_of(const homeo_forward *f, const double *row, int part)
{
    return row + locate(f, part);
}

/* Evidence ----------------------------------------------------------------------------------------------------- */

static int is_asked(int64_t since)
{
    size_t k;

    for (k = 0; k < sizeof rehearsed_at / sizeof rehearsed_at[0]; k++) {
        if (since == rehearsed_at[k]) {
            return 1;
        }
    }
    return since % REHEARSED_EVERY == 0;
}

/* Whether the sensors that are trusted are predicted better from the estimate than from the measurement. */
static int is_supported(const homeo_forward *f, const double *row, int64_t alarm)
{
    const double measured = row[HOMEO_AT_FROM_MEASURED], estimated = row[HOMEO_AT_FROM_ESTIMATE];
    const double *rejected = part_of(f, row, HOMEO_PART_REJECTED);
    const int young = row[HOMEO_AT_DECISIONS] - (double)alarm <= EARLY, used = row[HOMEO_AT_USED] > 0.0;
    int32_t i, suspects = 0;

    for (i = 0; i < f->entries; i++) {
        suspects += rejected[i] > SUSPECT;
    }
    if (young && (used || (alarm <= EARLY && suspects <= FEW))) {
        return estimated < NOT_WORSE * measured;
    }
    if (used) {
        return estimated < STILL_BETTER * measured;
    }
    return measured > LEAST_ERROR && estimated < BETTER * measured;
}

/* The bias without which measurements are what the model expects, HOMEO_OFFSETS or HOMEO_SCALES; -1 is neither. */
static int32_t find_bias(const homeo_forward *f, const double *row)
{
    const double *scale = part_of(f, row, HOMEO_PART_BIAS) + f->entries;
    const double *error = part_of(f, row, HOMEO_PART_BIAS_ERROR);
    double largest = 0.0, share, least;
    int32_t i, best = HOMEO_OFFSETS;

    if (row[HOMEO_AT_BIAS_SINCE] < LEAST_BIAS_SINCE) {
        return -1;
    }
    for (i = 0; i < f->entries; i++) {
        largest = MAX(largest, fabs(scale[i]));
    }
    if (largest < MOST_SCALE && error[3] / MAX(error[2], 1e-9) < error[1] / MAX(error[0], 1e-9)) {
        best = HOMEO_SCALES;
    }
    share = row[HOMEO_AT_USED] == HOMEO_WITHOUT_OFFSETS + best ? BIAS_STILL_BETTER : BIAS_BETTER;
    least = MIN(share * error[2 * best], row[HOMEO_AT_FROM_ESTIMATE]);
    return error[2 * best] > LEAST_ERROR && error[2 * best + 1] < least ? best : -1;
}

/* Verdicts ----------------------------------------------------------------------------------------------------- */

static void settle(homeo *h, int source)
{
    homeo_observed *o = &h->observed;

    o->verdict->phase = PHASE_NONE;
    o->verdict->openings += source != HOMEO_NOTHING && o->row[HOMEO_AT_USED] == HOMEO_NOTHING;
    o->row[HOMEO_AT_USED] = source;
}

static void begin_phase(homeo_verdict *v, int phase)
{
    v->phase = phase;
    v->window = v->step = v->part = 0;
    v->total[0] = v->total[1] = 0.0;
}

/* Settle what the policy gets, or begin a rehearsal; at an open gate. */
static void judge(homeo *h)
{
    const homeo_senses *s = h->senses;
    homeo_observed *o = &h->observed;
    homeo_verdict *v = o->verdict;
    const int64_t since = (int64_t)o->row[HOMEO_AT_DECISIONS] - v->alarm;
    const int asked = is_asked(since);
    int32_t k;

    if (!s->explains || o->row[HOMEO_AT_CERTAIN] > 0.0) {
        settle(h, s->explains && s->windows > 0 ? HOMEO_ESTIMATE : HOMEO_NOTHING);
        return;
    }
    if (v->phase != PHASE_NONE ||
        (!asked && (o->row[HOMEO_AT_USED] >= HOMEO_WITHOUT_OFFSETS || (since > EARLY && since % BIAS_EVERY != 0)))) {
        return;
    }
    v->kind = find_bias(s->forward, o->row);
    v->asked = asked;
    v->supported = asked && is_supported(s->forward, o->row, v->alarm);
    if (s->windows == 0 || (v->kind < 0 && !v->supported)) {
        if (asked) {
            settle(h, HOMEO_NOTHING);
        }
        return;
    }
    /* What is used goes on being used by half of the margin, so that a verdict does not alternate. */
    v->margin = o->row[HOMEO_AT_USED] > 0.0 ? 0.5 * (1.0 + s->margin) : s->margin;
    for (k = 0; k < s->row; k++) {
        o->judged[k] = o->row[k];
    }
    begin_phase(v, v->kind < 0 ? PHASE_OF_ESTIMATE : PHASE_OF_BIAS);
}

/* Rehearsals --------------------------------------------------------------------------------------------------- */

static double to_scale(const homeo_forward *f, double value, int32_t i)
{
    const double scaled = (value - f->scales[i]) / f->scales[f->entries + i];

    return MIN(MAX(scaled, -HOMEO_OBSERVER_LIMIT), HOMEO_OBSERVER_LIMIT);
}

static const float *truth_at(const homeo *h, int32_t step)
{
    const homeo_senses *s = h->senses;
    const size_t row = (size_t)h->observed.verdict->window * HOMEO_WINDOW + (size_t)step;

    return s->truth + row * (size_t)s->forward->entries;
}

static const float *executed_at(const homeo *h, int32_t step)
{
    const homeo_senses *s = h->senses;
    const size_t row = (size_t)h->observed.verdict->window * HOMEO_WINDOW + (size_t)step;

    return s->executed + row * (size_t)s->forward->actions;
}

/* The generator of one kind of draws where a sequence begins. */
static homeo_random draws_of(const homeo *h, int kind)
{
    const homeo_senses *s = h->senses;
    const uint64_t *state = s->draws + 2 * ((size_t)kind * (size_t)s->windows + (size_t)h->observed.verdict->window);
    homeo_random random = {0};

    random.state_high = state[0];
    random.state_low = state[1];
    random.increment_high = s->increment[0];
    random.increment_low = s->increment[1];
    return random;
}

/* Add the distance of the healthy policy's actions at an observation from the remembered ones of a compared step. */
static void add_distance(homeo *h, const float *observation, int32_t compared, double *total)
{
    const homeo_policy *p = h->policy;
    const homeo_senses *s = h->senses;
    const size_t row = (size_t)h->observed.verdict->window * HOMEO_COMPARED + (size_t)compared;
    const homeo_real *action = homeo_act_healthy(h, observation, s->encoder);
    int32_t k;

    for (k = 0; k < p->actions; k++) {
        const homeo_real unit = R(2) * (action[k] - p->low[k]) / (p->high[k] - p->low[k]) - R(1);

        *total += (double)ABS(unit - s->wanted[row * (size_t)p->actions + (size_t)k]);
    }
}

/* Whether actions came closer by the margin. */
static int helps(const homeo *h)
{
    const homeo_policy *p = h->policy;
    const homeo_verdict *v = h->observed.verdict;
    const double count = (double)(h->senses->windows * HOMEO_COMPARED * p->actions);
    const double estimated = v->total[0] / count, measured = v->total[1] / count;

    return estimated < v->margin * measured && measured - estimated > LEAST_GAIN;
}

/* One decision under a bias that is drawn from what was identified: without it, or with it. */
static void rehearse_bias(homeo *h)
{
    const homeo_forward *f = h->senses->forward;
    homeo_observed *o = &h->observed;
    homeo_verdict *v = o->verdict;
    const size_t entries = (size_t)f->entries, kind = (size_t)v->kind;
    const double *bias = part_of(f, o->judged, HOMEO_PART_BIAS) + kind * entries;
    const double *covariance = part_of(f, o->judged, HOMEO_PART_BIAS_COVARIANCE) + kind * entries * entries;
    const float *truth = truth_at(h, HOMEO_WINDOW - HOMEO_COMPARED + v->step);
    size_t i;

    if (v->step == 0 && v->part == 0) {
        v->draw[DRAW_OTHER] = draws_of(h, DRAW_OTHER);
        for (i = 0; i < entries; i++) {
            o->first[i] = homeo_random_normal(&v->draw[DRAW_OTHER]);
        }
    }
    for (i = 0; i < entries; i++) {
        const double error = o->first[i] * sqrt(covariance[i * entries + i]);
        const double theta = v->part == 0 ? error : bias[i] + error;
        const double share = MIN(MAX(theta, -MOST_SCALE), MOST_SCALE);

        o->measured[i] = (float)(kind == HOMEO_OFFSETS ? (double)truth[i] + theta * f->scales[entries + i]
                                                       : (double)truth[i] / (1.0 - share));
    }
    add_distance(h, o->measured, v->step, &v->total[v->part]);
    v->part = 1 - v->part;
    v->step += v->part == 0;
    if (v->step == HOMEO_COMPARED) {
        v->step = 0;
        v->window += 1;
    }
}

/* Write what is measured in a step of a sequence under the identified fault. Steps follow one another. */
static void corrupt(homeo *h, int32_t step)
{
    const homeo_forward *f = h->senses->forward;
    homeo_observed *o = &h->observed;
    homeo_verdict *v = o->verdict;
    const double *row = o->judged, *rejected = part_of(f, row, HOMEO_PART_REJECTED);
    const double *noise = part_of(f, row, HOMEO_PART_NOISE), *scatter = part_of(f, row, HOMEO_PART_SCATTER);
    const double *moves = f->scales + 2 * f->entries + 2 * f->actions, since = row[HOMEO_AT_SINCE];
    const float *delayed = truth_at(h, MAX(step - (int32_t)row[HOMEO_AT_LAG], 0));
    double total = 0.0, count = 0.0;
    int32_t i, many;

    for (i = 0; i < f->entries; i++) {
        total += moves[i] > 0.0 ? rejected[i] : 0.0;
        count += moves[i] > 0.0;
    }
    many = count > 0.0 && total / count > LEAST_MEAN_SHARE;
    for (i = 0; i < f->entries; i++) {
        const double normal = homeo_random_normal(&v->draw[DRAW_NORMAL]), share = rejected[i];
        double other = homeo_random_normal(&v->draw[DRAW_OTHER]), added, lost = 0.0;

        if (step == 0) {
            o->first[i] = other;
        }
        /* A single disagreement is no fault: contacts cause some. Many sensors at once are. */
        if (share > LEAST_SHARE || many) {
            lost = share > 0.5 ? 1.0 : share;
        }
        other = o->first[f->entries + i] > 0.0 ? o->first[i] : other;
        added = normal * sqrt(noise[i] * since / (since + FEW_DECISIONS));
        if (homeo_random_double(&v->draw[DRAW_UNIFORM]) < lost) {
            added = other * sqrt(scatter[i]);
        }
        added = to_scale(f, (double)delayed[i], i) + added;
        o->measured[i] = (float)(added * f->scales[f->entries + i] + f->scales[i]);
    }
}

/* Settle the row of a sequence on its truth, with what was learned of the fault. */
static void begin_rehearsed(homeo *h)
{
    const homeo_senses *s = h->senses;
    const homeo_forward *f = s->forward;
    homeo_observed *o = &h->observed;
    double *row = o->rehearsed, *state = row + locate(f, HOMEO_PART_STATE), *cleaned = row + locate(f, HOMEO_PART_CLEANED);
    double *past = row + locate(f, HOMEO_PART_MEASURED), *acted = row + locate(f, HOMEO_PART_ACTIONS);
    const double *units = f->scales + 2 * f->entries;
    const float *truth = truth_at(h, LAGS - (int32_t)o->judged[HOMEO_AT_LAG]);
    int32_t i, back;

    for (i = 0; i < s->row; i++) {
        row[i] = o->judged[i];
    }
    row[HOMEO_AT_GATE] = 1e6;
    row[HOMEO_AT_USED] = 1.0;
    row[HOMEO_AT_SINCE] = row[HOMEO_AT_DECISIONS] = 1e3;
    row[HOMEO_AT_BIAS_SINCE] = -1.0; /* not part of what is rehearsed */
    for (i = 0; i < f->entries; i++) {
        state[i] = cleaned[i] = to_scale(f, (double)truth[i], i);
        for (back = 0; back < HOMEO_OBSERVER_PAST; back++) {
            past[back * f->entries + i] = to_scale(f, (double)o->measured[i], i);
        }
    }
    for (back = 0; back < LAGS; back++) {
        const float *action = executed_at(h, LAGS - 1 - back);

        for (i = 0; i < f->actions; i++) { /* in float32, as in Python */
            acted[back * f->actions + i] = (double)((action[i] - (float)units[i]) / (float)units[f->actions + i]);
        }
    }
}

static void begin_sequence(homeo *h)
{
    homeo_observed *o = &h->observed;
    homeo_random constant = draws_of(h, DRAW_CONSTANT);
    const int32_t entries = h->policy->inputs;
    int32_t i;
    int kind;

    for (kind = DRAW_NORMAL; kind <= DRAW_UNIFORM; kind++) {
        o->verdict->draw[kind] = draws_of(h, kind);
    }
    for (i = 0; i < entries; i++) {
        o->first[entries + i] = homeo_random_double(&constant) < 0.5 ? 1.0 : 0.0;
    }
    for (i = 0; i <= LAGS; i++) {
        corrupt(h, i);
    }
    begin_rehearsed(h);
    o->verdict->step = LAGS;
}

/* One step of the filter in one sequence; then, where it is compared, two decisions. */
static void rehearse_estimate(homeo *h)
{
    const homeo_senses *s = h->senses;
    homeo_observed *o = &h->observed;
    homeo_verdict *v = o->verdict;
    const int32_t compared = v->step - (HOMEO_WINDOW - HOMEO_COMPARED);

    if (v->part > 0) {
        add_distance(h, v->part == 1 ? o->estimate : o->measured, compared, &v->total[v->part - 1]);
        v->part = (v->part + 1) % 3;
    } else {
        if (v->step == 0) {
            begin_sequence(h);
        }
        v->step += 1;
        corrupt(h, v->step);
        homeo_observer_advance(s->forward, o->rehearsed, o->measured, executed_at(h, v->step - 1), o->estimate, o->full,
                               o->work);
        v->part = v->step >= HOMEO_WINDOW - HOMEO_COMPARED;
    }
    if (v->step == HOMEO_WINDOW - 1 && v->part == 0) {
        v->step = 0;
        v->window += 1;
    }
}

int homeo_rehearse_step(homeo *h)
{
    homeo_verdict *v;
    int bias;

    if (h->policy == NULL || !h->ready) {
        return HOMEO_NOT_READY;
    }
    if (h->senses == NULL) {
        return HOMEO_ABSENT;
    }
    v = h->observed.verdict;
    bias = v->phase == PHASE_OF_BIAS;
    if (v->phase == PHASE_NONE) {
        return HOMEO_OK;
    }
    if (bias) {
        rehearse_bias(h);
    } else {
        rehearse_estimate(h);
    }
    if (v->window < h->senses->windows) {
        return HOMEO_BUSY;
    }
    if (helps(h)) {
        settle(h, bias ? HOMEO_WITHOUT_OFFSETS + v->kind : HOMEO_ESTIMATE);
    } else if (bias && v->supported) {
        begin_phase(v, PHASE_OF_ESTIMATE);
        return HOMEO_BUSY;
    } else if (v->asked) {
        settle(h, HOMEO_NOTHING);
    }
    v->phase = PHASE_NONE;
    return HOMEO_OK;
}

int homeo_rehearse(homeo *h)
{
    int result;

    do {
        result = homeo_rehearse_step(h);
    } while (result == HOMEO_BUSY);
    return result;
}

/* Decisions ---------------------------------------------------------------------------------------------------- */

static void observe(homeo *h, const homeo_real *observation)
{
    const homeo_senses *s = h->senses;
    homeo_observed *o = &h->observed;
    homeo_verdict *v = o->verdict;
    int32_t i;

    for (i = 0; i < h->policy->inputs; i++) {
        o->now[i] = (float)observation[i];
    }
    if (homeo_observer_advance(s->forward, o->row, o->now, o->last, o->out, o->full, o->work)) {
        if (!v->alarmed) {
            v->alarmed = 1;
            v->alarm = (int64_t)o->row[HOMEO_AT_DECISIONS];
        }
        judge(h);
    } else {
        v->alarmed = 0;
        v->phase = PHASE_NONE; /* what was being rehearsed is over */
    }
    v->observed = 1;
}

int homeo_observe(homeo *h, const homeo_real *observation)
{
    const int result = homeo_is_measurement(h, observation);

    if (result != HOMEO_OK) {
        return result;
    }
    if (h->senses == NULL) {
        return HOMEO_ABSENT;
    }
    if (!h->observed.verdict->observed) {
        observe(h, observation);
    }
    return h->observed.verdict->phase == PHASE_NONE ? HOMEO_OK : HOMEO_DUE;
}

const homeo_real *homeo_perceive(homeo *h, const homeo_real *observation)
{
    homeo_observed *o = &h->observed;
    int source;
    int32_t i;

    if (!o->verdict->observed) {
        observe(h, observation);
    }
    o->verdict->observed = 0;
    source = (int)o->row[HOMEO_AT_USED];
    if (source == HOMEO_NOTHING) {
        return observation;
    }
    o->verdict->used += 1;
    if (source != HOMEO_ESTIMATE) {
        homeo_observer_correct(h->senses->forward, o->row, source - HOMEO_WITHOUT_OFFSETS, o->now);
    }
    for (i = 0; i < h->policy->inputs; i++) {
        o->seen[i] = R(source == HOMEO_ESTIMATE ? o->out[i] : o->now[i]);
    }
    return o->seen;
}

int homeo_read_alarm(const homeo *h, homeo_alarm *alarm)
{
    const homeo_policy *p = h->policy;
    const homeo_observed *o = &h->observed;

    if (p == NULL || !h->ready) {
        return HOMEO_NOT_READY;
    }
    if (h->senses == NULL) {
        return HOMEO_ABSENT;
    }
    alarm->open = o->row[HOMEO_AT_OPEN] > 0.0;
    alarm->since = alarm->open ? (int32_t)((int64_t)o->row[HOMEO_AT_DECISIONS] - o->verdict->alarm) : 0;
    alarm->lag = alarm->open ? (int32_t)o->row[HOMEO_AT_LAG] : 0;
    alarm->used = (int32_t)o->row[HOMEO_AT_USED];
    alarm->due = o->verdict->phase != PHASE_NONE;
    alarm->rejected = part_of(h->senses->forward, o->row, HOMEO_PART_REJECTED);
    alarm->shift = part_of(h->senses->forward, o->row, HOMEO_PART_SHIFT);
    return HOMEO_OK;
}

/* A decision of the observer: gate, latency, robust Kalman filter and prediction over the latency. */
#include "homeo_observer_internal.h"

static size_t size_of(size_t d, size_t k, int part)
{
    switch (part) {
    case HOMEO_PART_ACTIONS: return (HOMEO_OBSERVER_LAGS + HOMEO_OBSERVER_PAST) * k;
    case HOMEO_PART_MEASURED: return HOMEO_OBSERVER_PAST * d;
    case HOMEO_PART_WATCHED: return 2 * HOMEO_OBSERVER_LAGS;
    case HOMEO_PART_AGES: return HOMEO_OBSERVER_PAST;
    case HOMEO_PART_COVARIANCE: return d * d;
    case HOMEO_PART_LATENCY: return HOMEO_OBSERVER_LAGS;
    case HOMEO_PART_GAINS: return k * k;
    case HOMEO_PART_GAIN_SUMS: return k;
    case HOMEO_PART_BIAS_COVARIANCE: return 2 * d * d;
    case HOMEO_PART_BIAS_ERROR: return 4;
    case HOMEO_PART_BIAS_INFLATION: return 2;
    case HOMEO_PART_NOISE_SUMS:
    case HOMEO_PART_BIAS: return 2 * d;
    default: return d;
    }
}

size_t homeo_observer_offset(int32_t entries, int32_t actions, int part)
{
    size_t offset = HOMEO_OBSERVER_SCALARS;
    int before;

    for (before = 0; before < part && before < HOMEO_PARTS; before++) {
        offset += size_of((size_t)entries, (size_t)actions, before);
    }
    return offset;
}

size_t homeo_observer_row(int32_t entries, int32_t actions)
{
    return homeo_observer_offset(entries, actions, HOMEO_PARTS);
}

static int32_t width_of(int32_t entries, int32_t actions)
{
    return entries + actions;
}

size_t homeo_observer_numbers(int32_t entries, int32_t actions)
{
    return (HOMEO_FULL_JACOBIAN + 2 * (size_t)entries) * (size_t)width_of(entries, actions);
}

size_t homeo_observer_floats(int32_t entries, int32_t actions, int32_t hidden)
{
    return HOMEO_WORK_ROWS * (size_t)homeo_forward_width(entries, actions, hidden);
}

void homeo_observer_begin(const homeo_forward *f, double *row)
{
    size_t count = homeo_observer_row(f->entries, f->actions), k;

    for (k = 0; k < count; k++) {
        row[k] = 0.0;
    }
    row[HOMEO_AT_GATE] = 1.0;
}

static void lay_out(homeo_episode *e, const homeo_forward *f, double *row, double *full, float *work)
{
    const int32_t d = f->entries, k = f->actions;
    int part;

    e->model = f;
    e->entries = d;
    e->actions = k;
    e->width = width_of(d, k);
    e->row = row;
    e->end = row + HOMEO_OBSERVER_SCALARS;
    for (part = 0; part < HOMEO_PARTS; part++) {
        e->part[part] = e->end;
        e->end += size_of((size_t)d, (size_t)k, part);
    }
    e->full = full;
    e->work = work;
    e->x = work + (size_t)HOMEO_WORK_X * (size_t)homeo_forward_width(d, k, f->hidden);
    e->center = f->scales;
    e->spread = e->center + d;
    e->action_center = e->spread + d;
    e->action_spread = e->action_center + k;
    e->moves = e->action_spread + k;
    e->limit = e->moves + d;
    e->start_mean = e->limit + 1;
    e->start_variance = e->start_mean + d;
    e->single = e->start_variance + d;
    e->sensor = e->single + d;
    e->still = e->sensor + d;
    e->zeros = e->still + d;
}

static void push_measurement(const homeo_episode *e, const double *z, double age)
{
    double *past = e->part[HOMEO_PART_MEASURED], *ages = e->part[HOMEO_PART_AGES];
    int32_t k;

    for (k = HOMEO_OBSERVER_PAST * e->entries - 1; k >= e->entries; k--) {
        past[k] = past[k - e->entries];
    }
    for (k = 0; k < e->entries; k++) {
        past[k] = z[k];
    }
    for (k = HOMEO_OBSERVER_PAST - 1; k > 0; k--) {
        ages[k] = ages[k - 1];
    }
    ages[0] = homeo_most(age, 0.0);
}

static void push_action(const homeo_episode *e, const float *action)
{
    const int32_t count = (HOMEO_OBSERVER_LAGS + HOMEO_OBSERVER_PAST) * e->actions;
    double *past = e->part[HOMEO_PART_ACTIONS];
    int32_t k;

    for (k = count - 1; k >= e->actions; k--) {
        past[k] = past[k - e->actions];
    }
    for (k = 0; k < e->actions; k++) {
        const double value = ((double)action[k] - e->action_center[k]) / e->action_spread[k];

        past[k] = homeo_least(homeo_most(value, -1.0), 1.0);
    }
    if (e->row[HOMEO_AT_DECISIONS] == 1.0) { /* before the first action there was none: it stands for those */
        for (k = e->actions; k < count; k++) {
            past[k] = past[k - e->actions];
        }
    }
}

/* Compare one latency a decision, in turn, with none; return whether one explains the measurements better. */
static int watch_latency(const homeo_episode *e, const double *z, double error)
{
    const int32_t lag = 1 + (int32_t)((int64_t)e->row[HOMEO_AT_DECISIONS] % (HOMEO_OBSERVER_LAGS - 1));
    double *mean = homeo_full(e, HOMEO_FULL_MEAN), *variance = homeo_full(e, HOMEO_FULL_SPREAD);
    double *watched = e->part[HOMEO_PART_WATCHED] + 2 * lag, total = 0.0, count = 0.0;
    int32_t i;

    homeo_fill(e, e->part[HOMEO_PART_MEASURED], e->part[HOMEO_PART_ACTIONS] + lag * e->actions);
    homeo_predict(e, mean, variance);
    for (i = 0; i < e->entries; i++) {
        if (e->moves[i] > 0.0) {
            const double other = z[i] - mean[i];

            total += homeo_least(other * other / variance[i], HOMEO_OBSERVER_CAP);
            count += 1.0;
        }
    }
    if (watched[0] == 0.0) {
        watched[0] = watched[1] = 1.0;
    }
    watched[0] += HOMEO_OBSERVER_WATCH * (total / homeo_most(count, 1.0) - watched[0]);
    watched[1] += HOMEO_OBSERVER_WATCH * (error - watched[1]);
    return watched[1] > HOMEO_OBSERVER_LATE && watched[0] < HOMEO_OBSERVER_SWITCH * watched[1];
}

/* What the gate sees in one measurement. */
typedef struct {
    int broken, missing; /* whether a sensor errs beyond its limits, or reads nothing */
    double error;        /* mean over the sensors that move, 1 in health */
} comparison;

/* Compare a measurement with the prediction from the one before. */
static comparison compare(const homeo_episode *e, const double *z)
{
    const double *past = e->part[HOMEO_PART_MEASURED];
    double *mean = homeo_full(e, HOMEO_FULL_ESTIMATE), *variance = homeo_full(e, HOMEO_FULL_VARIANCE);
    double *still = e->part[HOMEO_PART_STILL], total = 0.0, count = 0.0;
    comparison seen = {0, 0, 0.0};
    int32_t i;

    homeo_fill(e, past, e->part[HOMEO_PART_ACTIONS]);
    homeo_predict(e, mean, variance);
    for (i = 0; i < e->entries; i++) {
        double *running = e->part[HOMEO_PART_SENSOR] + i, error, square;

        still[i] = z[i] == past[i] ? still[i] + 1.0 : 0.0;
        if (!(e->moves[i] > 0.0)) {
            continue;
        }
        error = z[i] - mean[i];
        square = error * error / variance[i];
        seen.missing = seen.missing || homeo_is_missing(e, z[i], i);
        seen.broken = seen.broken || still[i] > e->still[i] || square > e->single[i];
        square = homeo_least(square, HOMEO_OBSERVER_CAP);
        *running += HOMEO_OBSERVER_QUICK * (square - *running);
        seen.broken = seen.broken || *running > e->sensor[i];
        total += square;
        count += 1.0;
    }
    seen.error = total / homeo_most(count, 1.0);
    return seen;
}

/* Begin an alarm: all that is known of another one is forgotten. */
static void open_gate(const homeo_episode *e)
{
    double *row = e->row, *place;

    row[HOMEO_AT_OPEN] = row[HOMEO_AT_INFLATION] = 1.0;
    row[HOMEO_AT_SINCE] = row[HOMEO_AT_LAG] = row[HOMEO_AT_FROM_MEASURED] = row[HOMEO_AT_FROM_ESTIMATE] = 0.0;
    row[HOMEO_AT_CERTAIN] = row[HOMEO_AT_STAMPED] = 0.0;
    for (place = e->part[HOMEO_PART_STATE]; place < e->end; place++) {
        *place = 0.0;
    }
}

/* Compare the measurement with the prediction from the last one; open or shut the gate. Returns the age of a measurement
 * that repeats an earlier one; 0 without an alarm, and -1 where it is not known. */
static double advance_gate(const homeo_episode *e, const double *z)
{
    comparison seen = compare(e, z);
    double *row = e->row, age = -1.0;
    int moving, late;

    row[HOMEO_AT_GATE] += HOMEO_OBSERVER_RATE * (seen.error - row[HOMEO_AT_GATE]);
    moving = homeo_was_moving(e);
    seen.missing = seen.missing && (moving || row[HOMEO_AT_CERTAIN] > 0.0);
    if ((seen.error > HOMEO_OBSERVER_REPEATED_ERROR && moving) || row[HOMEO_AT_STAMPED] > 0.0) {
        age = homeo_find_repeated_age(e, z);
    }
    late = row[HOMEO_AT_OPEN] == 0.0 && watch_latency(e, z, seen.error);
    if (row[HOMEO_AT_OPEN] == 0.0 &&
        (seen.broken || late || seen.missing || age > 0.0 || row[HOMEO_AT_GATE] > *e->limit)) {
        open_gate(e);
    } else if (row[HOMEO_AT_OPEN] > 0.0 && !(seen.broken || seen.missing) &&
               row[HOMEO_AT_SINCE] > HOMEO_OBSERVER_LEAST_OPEN &&
               row[HOMEO_AT_GATE] < HOMEO_OBSERVER_CLOSE * *e->limit) {
        row[HOMEO_AT_OPEN] = row[HOMEO_AT_USED] = row[HOMEO_AT_CERTAIN] = row[HOMEO_AT_STAMPED] = 0.0;
    }
    if (row[HOMEO_AT_OPEN] > 0.0 && (seen.missing || age > 0.0)) {
        row[HOMEO_AT_CERTAIN] = 1.0;
    }
    if (row[HOMEO_AT_OPEN] > 0.0 && age > 0.0 && row[HOMEO_AT_STAMPED] == 0.0) {
        homeo_begin_stamped(e);
    }
    return row[HOMEO_AT_OPEN] > 0.0 ? age : 0.0;
}

/* Begin the estimate at the first observation and at how episodes begin; return whether a sensor contradicts it. */
static int start(const homeo_episode *e, const double *z)
{
    int32_t i;
    int contradicts = 0;

    for (i = 0; i < e->entries; i++) {
        const double center = e->start_mean[i], variance = e->start_variance[i], innovation = z[i] - center;
        const int wrong = e->moves[i] > 0.0 && innovation * innovation > 4.0 * HOMEO_OBSERVER_REJECT * variance;
        const double begun = wrong ? center : z[i];

        contradicts = contradicts || wrong;
        e->part[HOMEO_PART_STATE][i] = begun;
        e->part[HOMEO_PART_CLEANED][i] = begun;
        e->part[HOMEO_PART_COVARIANCE][i * (e->entries + 1)] = wrong ? variance : 0.01 * variance;
    }
    return contradicts;
}

/* Run the estimate through the measurements that are kept: it begins before the fault, or at the start. */
static void begin(const homeo_episode *e)
{
    const int32_t d = e->entries, count = (int32_t)homeo_least(e->row[HOMEO_AT_DECISIONS], HOMEO_OBSERVER_PAST);
    const double *oldest = e->part[HOMEO_PART_MEASURED] + (count - 1) * d;
    const int starts = e->row[HOMEO_AT_DECISIONS] <= HOMEO_OBSERVER_PAST;
    int32_t back, i;

    homeo_begin_biases(e, oldest, starts);
    if (starts) {
        start(e, oldest);
    } else {
        for (i = 0; i < d; i++) {
            e->part[HOMEO_PART_STATE][i] = e->part[HOMEO_PART_CLEANED][i] = oldest[i];
            e->part[HOMEO_PART_COVARIANCE][i * (d + 1)] = homeo_full(e, HOMEO_FULL_VARIANCE)[i];
        }
    }
    for (back = count - 2; back >= 0; back--) {
        const double *z = e->part[HOMEO_PART_MEASURED] + back * d;

        homeo_advance_biases(e, z, z + d, back + 1);
        homeo_filter_measurement(e, z, z + d, back + 1);
    }
}

/* What the estimator does while the gate is open; returns the age of the measurement. */
static double advance_filter(const homeo_episode *e, const double *z, double age)
{
    const double *before = e->part[HOMEO_PART_MEASURED];

    if (e->row[HOMEO_AT_STAMPED] > 0.0) {
        age = homeo_filter_stamped(e, z, age);
    } else if (e->row[HOMEO_AT_DECISIONS] > 0.0) {
        if (e->row[HOMEO_AT_SINCE] == 0.0) {
            begin(e);
        }
        homeo_advance_biases(e, z, before, 0);
        homeo_filter_measurement(e, z, before, 0);
    }
    e->row[HOMEO_AT_SINCE] = homeo_most(e->row[HOMEO_AT_SINCE], 1.0);
    return age;
}

int homeo_observer_advance(const homeo_forward *f, double *row, const float *observation, const float *last, float *out,
                           double *full, float *work)
{
    double *z, *estimate, age = 0.0;
    homeo_episode e;
    int32_t i;
    int open;

    lay_out(&e, f, row, full, work);
    z = homeo_full(&e, HOMEO_FULL_Z);
    estimate = homeo_full(&e, HOMEO_FULL_ESTIMATE);
    for (i = 0; i < e.entries; i++) {
        const double value = ((double)observation[i] - e.center[i]) / e.spread[i];

        z[i] = homeo_least(homeo_most(value, -HOMEO_OBSERVER_LIMIT), HOMEO_OBSERVER_LIMIT);
    }
    if (row[HOMEO_AT_DECISIONS] > 0.0) {
        push_action(&e, last);
        age = advance_gate(&e, z);
    } else if (start(&e, z)) {
        row[HOMEO_AT_OPEN] = row[HOMEO_AT_INFLATION] = 1.0;
        homeo_begin_biases(&e, z, 1);
        for (i = 0; i < e.entries; i++) {
            estimate[i] = e.part[HOMEO_PART_STATE][i];
        }
    }
    open = row[HOMEO_AT_OPEN] > 0.0;
    if (open) {
        age = advance_filter(&e, z, age);
        for (i = 0; i < e.entries; i++) {
            out[i] = (float)(estimate[i] * e.spread[i] + e.center[i]);
        }
    }
    push_measurement(&e, z, age);
    row[HOMEO_AT_DECISIONS] += 1.0;
    return open;
}

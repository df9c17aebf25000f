/* The filter where whole measurements repeat: each new one has an age of its own, which is searched for. */
#include "homeo_observer_internal.h"

/* Whether the last two measurements differ; true at the second one. The measurements of a robot at rest repeat, and its
 * velocities are exactly 0. */
int homeo_was_moving(const homeo_episode *e)
{
    const double *last = e->part[HOMEO_PART_MEASURED];
    double total = 0.0, count = 0.0;
    int32_t i;

    for (i = 0; i < e->entries; i++) {
        if (e->moves[i] > 0.0) {
            const double step = (last[i] - last[e->entries + i]) / (double)e->model->change[i];

            total += step * step;
            count += 1.0;
        }
    }
    return e->row[HOMEO_AT_DECISIONS] < 2.0 || total > HOMEO_OBSERVER_MOVING * count;
}

/* Return the age of a measurement that is equal to one of the last ones in all sensors that move; else -1. */
double homeo_find_repeated_age(const homeo_episode *e, const double *z)
{
    const int32_t count = (int32_t)homeo_least(e->row[HOMEO_AT_DECISIONS], HOMEO_OBSERVER_PAST);
    int32_t back, i;

    for (back = 0; back < count; back++) {
        const double *past = e->part[HOMEO_PART_MEASURED] + back * e->entries;
        int equal = 0;

        for (i = 0; i < e->entries; i++) {
            if (e->moves[i] > 0.0) {
                equal = z[i] == past[i];
                if (!equal) {
                    break;
                }
            }
        }
        if (equal) {
            return 1.0 + back + e->part[HOMEO_PART_AGES][back];
        }
    }
    return -1.0;
}

/* Begin the estimate at the last measurement, in an alarm in which measurements have ages of their own. */
void homeo_begin_stamped(const homeo_episode *e)
{
    double *place;
    int32_t i;

    e->row[HOMEO_AT_STAMPED] = 1.0;
    e->row[HOMEO_AT_IGNORED] = 0.0;
    e->row[HOMEO_AT_INFLATION] = 1.0;
    e->row[HOMEO_AT_FRAME] = e->row[HOMEO_AT_DECISIONS] - 1.0 - e->part[HOMEO_PART_AGES][0];
    for (place = e->part[HOMEO_PART_STATE]; place < e->end; place++) {
        *place = 0.0;
    }
    for (i = 0; i < e->entries; i++) {
        e->part[HOMEO_PART_STATE][i] = e->part[HOMEO_PART_CLEANED][i] = e->part[HOMEO_PART_MEASURED][i];
        e->part[HOMEO_PART_COVARIANCE][i * (e->entries + 1)] = homeo_full(e, HOMEO_FULL_VARIANCE)[i];
    }
}

/* Decisions since the estimated one, at most as many as actions are kept: whole measurements may repeat for ever. */
static int32_t decisions_behind(const homeo_episode *e)
{
    const double behind = e->row[HOMEO_AT_DECISIONS] - e->row[HOMEO_AT_FRAME];

    return (int32_t)homeo_least(behind, HOMEO_OBSERVER_LAGS + HOMEO_OBSERVER_PAST);
}

/* Begin the estimate again at a measurement, as if it were of the present. */
static void begin_here(const homeo_episode *e, const double *z)
{
    int32_t i, j;

    e->row[HOMEO_AT_FRAME] = e->row[HOMEO_AT_DECISIONS];
    e->row[HOMEO_AT_IGNORED] = 0.0;
    e->row[HOMEO_AT_INFLATION] = 1.0;
    for (i = 0; i < e->entries; i++) {
        e->part[HOMEO_PART_STATE][i] = z[i];
        for (j = 0; j < e->entries; j++) {
            e->part[HOMEO_PART_COVARIANCE][i * e->entries + j] =
                i == j ? homeo_full(e, HOMEO_FULL_VARIANCE)[i] : 0.0;
        }
    }
}

/* Return how many decisions after the estimated one a measurement is, by what explains it best; 0 if nothing does. Where
 * nothing has for long, the estimate begins again. */
static int32_t find_steps(const homeo_episode *e, const double *z)
{
    const int32_t behind = decisions_behind(e);
    double *ahead = homeo_full(e, HOMEO_FULL_RATIOS), *mean = homeo_full(e, HOMEO_FULL_MEAN);
    double *variance = homeo_full(e, HOMEO_FULL_SPREAD), *ignored = e->row + HOMEO_AT_IGNORED;
    double least = HOMEO_OBSERVER_IGNORE;
    int32_t best = 0, step, i;

    if (behind > HOMEO_OBSERVER_LAGS) { /* whatever would explain it best */
        begin_here(e, z);
        return 0;
    }
    for (i = 0; i < e->entries; i++) {
        ahead[i] = e->part[HOMEO_PART_STATE][i];
    }
    for (step = 1; step <= behind; step++) {
        double total = 0.0, count = 0.0;

        homeo_fill(e, ahead, e->part[HOMEO_PART_ACTIONS] + (behind - step) * e->actions);
        homeo_predict(e, mean, variance);
        for (i = 0; i < e->entries; i++) {
            ahead[i] = mean[i];
            if (e->moves[i] > 0.0 && !homeo_is_missing(e, z[i], i)) {
                const double error = z[i] - mean[i];

                total += homeo_least(error * error / variance[i], HOMEO_OBSERVER_CAP);
                count += 1.0;
            }
        }
        if (count > 0.0 && total / count < least) {
            best = step;
            least = total / count;
        }
    }
    *ignored = best > 0 ? 0.0 : *ignored + 1.0;
    if (*ignored > HOMEO_OBSERVER_MOST_IGNORED) {
        begin_here(e, z);
        return 0;
    }
    return best;
}

/* Predict the estimate `steps` decisions ahead and update it by the measurement. */
static void advance_stamped(const homeo_episode *e, const double *z, int32_t steps)
{
    const int32_t behind = decisions_behind(e);
    double *estimate = homeo_full(e, HOMEO_FULL_ESTIMATE), *variance = homeo_full(e, HOMEO_FULL_VARIANCE);
    double *state = e->part[HOMEO_PART_STATE];
    int32_t step, i;

    for (step = 1; step <= steps; step++) {
        homeo_fill(e, state, e->part[HOMEO_PART_ACTIONS] + (behind - step) * e->actions);
        homeo_predict(e, estimate, variance);
        homeo_differentiate(e, e->entries);
        homeo_propagate(e, variance);
        for (i = 0; i < e->entries; i++) {
            state[i] = estimate[i];
        }
    }
    e->row[HOMEO_AT_FRAME] += steps;
    homeo_update_by_sensors(e, z, e->part[HOMEO_PART_MEASURED]);
    for (i = 0; i < e->entries; i++) {
        state[i] = e->part[HOMEO_PART_CLEANED][i] = estimate[i];
        e->part[HOMEO_PART_ACCEPTED][i] = homeo_full(e, HOMEO_FULL_ACCEPTED)[i];
    }
}

/* Update the estimate by a measurement whose age is its own, and predict it to the present, to HOMEO_FULL_ESTIMATE. `age`
 * is that of a measurement that repeats an earlier one, which is of no use; else -1, and the age that explains the
 * measurement best is found and returned. */
double homeo_filter_stamped(const homeo_episode *e, const double *z, double age)
{
    const double now = e->row[HOMEO_AT_DECISIONS];
    double *estimate = homeo_full(e, HOMEO_FULL_ESTIMATE), *mean = homeo_full(e, HOMEO_FULL_MEAN);
    int32_t back, i;

    if (age < 0.0) {
        const int32_t steps = find_steps(e, z);

        if (steps > 0) {
            advance_stamped(e, z, steps);
        }
        age = now - e->row[HOMEO_AT_FRAME] + (e->row[HOMEO_AT_IGNORED] > 0.0 ? 1.0 : 0.0);
    }
    e->row[HOMEO_AT_LAG] = homeo_least(now - e->row[HOMEO_AT_FRAME], HOMEO_OBSERVER_LAGS);
    e->row[HOMEO_AT_SINCE] += 1.0;
    for (i = 0; i < e->entries; i++) {
        estimate[i] = e->part[HOMEO_PART_STATE][i];
    }
    for (back = decisions_behind(e) - 1; back >= 0; back--) {
        homeo_fill(e, estimate, e->part[HOMEO_PART_ACTIONS] + back * e->actions);
        homeo_predict(e, mean, homeo_full(e, HOMEO_FULL_SPREAD));
        for (i = 0; i < e->entries; i++) {
            estimate[i] = mean[i];
        }
    }
    return age;
}

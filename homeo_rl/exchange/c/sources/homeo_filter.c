/* The Kalman filter of an alarm: latency, robust update, and what is learned of noise and gains. */
#include "homeo_observer_internal.h"

double homeo_median(double *values, int32_t count)
{
    int32_t half = count / 2, i, j;

    for (i = 1; i < count; i++) { /* by insertion: there are as many as sensors */
        const double value = values[i];

        for (j = i; j > 0 && value < values[j - 1]; j--) {
            values[j] = values[j - 1];
        }
        values[j] = value;
    }
    return count % 2 ? values[half] : (values[half - 1] + values[half]) / 2.0;
}

static int is_zero(const homeo_episode *e, double value, int32_t i)
{
    const double reading = value * e->spread[i] + e->center[i];

    return fabs(reading) <= 1e-12 * (fabs(e->center[i]) + e->spread[i]); /* it was rounded when it was scaled */
}

int homeo_is_missing(const homeo_episode *e, double value, int32_t i)
{
    return is_zero(e, value, i) && e->zeros[i] == 0.0;
}

static double weight_of(const homeo_episode *e, double least)
{
    return homeo_most(least, 1.0 / (e->row[HOMEO_AT_SINCE] + 1.0));
}

/* Begin the estimate again at the measurement before: what was learned was learned at a wrong latency. */
static void begin_at_latency(const homeo_episode *e, const double *before, int32_t best)
{
    const double *latency = e->part[HOMEO_PART_LATENCY];
    double *place;
    int32_t i;

    e->row[HOMEO_AT_LAG] = best;
    e->row[HOMEO_AT_INFLATION] = 1.0;
    e->row[HOMEO_AT_FROM_MEASURED] = latency[0];
    e->row[HOMEO_AT_FROM_ESTIMATE] = latency[best];
    for (place = e->part[HOMEO_PART_COVARIANCE]; place < latency; place++) {
        *place = 0.0;
    }
    for (place = e->part[HOMEO_PART_REJECTED]; place < e->part[HOMEO_PART_GAINS]; place++) {
        *place = 0.0;
    }
    for (i = 0; i < e->entries; i++) {
        e->part[HOMEO_PART_STATE][i] = e->part[HOMEO_PART_CLEANED][i] = before[i];
        e->part[HOMEO_PART_COVARIANCE][i * (e->entries + 1)] = homeo_full(e, HOMEO_FULL_SPREAD)[i];
    }
}

/* Ask which latency explains a measurement best by the one before. Writes what is expected at the latency that is taken,
 * with estimates in the place of rejected entries, to HOMEO_FULL_MEAN, and what the measurement before lets expect
 * without a latency to HOMEO_FULL_BEFORE. `first` is the action without a latency. */
static void find_latency(const homeo_episode *e, const double *z, const double *before, const double *first)
{
    double *mean = homeo_full(e, HOMEO_FULL_MEAN), *variance = homeo_full(e, HOMEO_FULL_SPREAD);
    double *expected = homeo_full(e, HOMEO_FULL_BEFORE), *stats = e->part[HOMEO_PART_LATENCY];
    const double weight = weight_of(e, HOMEO_OBSERVER_RATE);
    int32_t best = 0, lag, i;

    homeo_fill(e, before, first);
    homeo_prepare_lags(e);
    for (lag = 0; lag < HOMEO_OBSERVER_LAGS; lag++) {
        double total = 0.0;

        homeo_predict_lag(e, first + lag * e->actions, mean, variance);
        for (i = 0; i < e->entries; i++) {
            const double error = z[i] - mean[i];

            total += homeo_least(error * error / variance[i], HOMEO_OBSERVER_CAP);
            expected[i] = lag == 0 ? mean[i] : expected[i];
        }
        stats[lag] += weight * (total / e->entries - stats[lag]);
        if (stats[lag] < stats[best]) {
            best = lag;
        }
    }
    if (e->row[HOMEO_AT_SINCE] >= HOMEO_OBSERVER_SETTLED &&
        stats[best] < HOMEO_OBSERVER_SWITCH * stats[(int32_t)e->row[HOMEO_AT_LAG]]) {
        begin_at_latency(e, before, best);
    }
    homeo_fill(e, e->part[HOMEO_PART_CLEANED], first + (int32_t)e->row[HOMEO_AT_LAG] * e->actions);
    homeo_predict(e, mean, variance);
}

/* Compare how well the measurement before and the estimate before predict the sensors that are trusted. */
static void compare(const homeo_episode *e, const double *z)
{
    const double *expected = homeo_full(e, HOMEO_FULL_BEFORE), *estimate = homeo_full(e, HOMEO_FULL_ESTIMATE);
    const double *variance = homeo_full(e, HOMEO_FULL_VARIANCE), weight = weight_of(e, HOMEO_OBSERVER_RATE);
    double measured = 0.0, estimated = 0.0, count = 0.0;
    int32_t i;

    for (i = 0; i < e->entries; i++) {
        if (e->moves[i] > 0.0 && e->part[HOMEO_PART_REJECTED][i] < 0.5) {
            const double raw = z[i] - expected[i], other = z[i] - estimate[i];

            measured += homeo_least(raw * raw / variance[i], HOMEO_OBSERVER_CAP);
            estimated += homeo_least(other * other / variance[i], HOMEO_OBSERVER_CAP);
            count += 1.0;
        }
    }
    count = homeo_most(count, 1.0);
    e->row[HOMEO_AT_FROM_MEASURED] += weight * (measured / count - e->row[HOMEO_AT_FROM_MEASURED]);
    e->row[HOMEO_AT_FROM_ESTIMATE] += weight * (estimated / count - e->row[HOMEO_AT_FROM_ESTIMATE]);
}

/* Write J P J^T + inflation diag(variance) over the covariance P. */
void homeo_propagate(const homeo_episode *e, const double *variance)
{
    const int32_t d = e->entries;
    double *p = e->part[HOMEO_PART_COVARIANCE];
    int32_t i, j, k;

    for (i = 0; i < d; i++) {
        const double *slope = homeo_full(e, HOMEO_FULL_JACOBIAN + i);
        double *half = homeo_full(e, HOMEO_FULL_JACOBIAN + d + i);

        for (j = 0; j < d; j++) {
            half[j] = 0.0;
        }
        for (k = 0; k < d; k++) {
            for (j = 0; j < d; j++) {
                half[j] += slope[k] * p[k * d + j];
            }
        }
    }
    for (i = 0; i < d; i++) {
        const double *half = homeo_full(e, HOMEO_FULL_JACOBIAN + d + i);

        for (j = 0; j <= i; j++) {
            const double *slope = homeo_full(e, HOMEO_FULL_JACOBIAN + j);
            double total = 0.0;

            for (k = 0; k < d; k++) {
                total += half[k] * slope[k];
            }
            p[i * d + j] = total;
            p[j * d + i] = total;
        }
        p[i * d + i] += e->row[HOMEO_AT_INFLATION] * variance[i];
    }
}

/* Advance what is known of how sensor i is wrong; return its share of disagreements. */
static double record_sensor(const homeo_episode *e, int32_t i, int agrees, int repeats, int zero, double innovation)
{
    double *share = e->part[HOMEO_PART_REJECTED] + i, *repeated = e->part[HOMEO_PART_REPEATED] + i;
    double *zeros = e->part[HOMEO_PART_ZERO] + i, *shift = e->part[HOMEO_PART_SHIFT] + i;
    double *scatter = e->part[HOMEO_PART_SCATTER] + i, *agreed = e->part[HOMEO_PART_AGREED] + i;

    *agreed = agrees ? *agreed + 1.0 : 0.0;
    *share += HOMEO_OBSERVER_FAST * ((agrees ? 0.0 : 1.0) - *share);
    *repeated += HOMEO_OBSERVER_RATE * ((repeats ? 1.0 : 0.0) - *repeated);
    *zeros += HOMEO_OBSERVER_RATE * ((zero ? 1.0 : 0.0) - *zeros);
    *shift += HOMEO_OBSERVER_RATE * (innovation - *shift);
    *scatter += HOMEO_OBSERVER_RATE * (innovation * innovation - *scatter);
    return *share;
}

/* Begin a lost estimate again, at the measurement of sensors that were mostly right and are not missing. */
static void begin_again(const homeo_episode *e, const double *z)
{
    const double *variance = homeo_full(e, HOMEO_FULL_VARIANCE), *missing = homeo_full(e, HOMEO_FULL_SPREAD);
    double *estimate = homeo_full(e, HOMEO_FULL_ESTIMATE), *accepted = homeo_full(e, HOMEO_FULL_ACCEPTED);
    double *p = e->part[HOMEO_PART_COVARIANCE];
    int32_t i, j;

    for (i = 0; i < e->entries; i++) {
        const int unreliable = e->part[HOMEO_PART_REJECTED][i] > 0.5 || missing[i] > 0.0;

        for (j = 0; j < e->entries; j++) {
            p[i * e->entries + j] = 0.0;
        }
        p[i * e->entries + i] = unreliable ? 1.0 : variance[i] + e->part[HOMEO_PART_NOISE][i];
        estimate[i] = unreliable ? estimate[i] : z[i];
        accepted[i] = unreliable ? 0.0 : 1.0;
    }
    e->row[HOMEO_AT_INFLATION] = 1.0;
}

/* Write which sensors agree with the estimate to HOMEO_FULL_ACCEPTED, and their squared innovations over what was
 * expected of them to HOMEO_FULL_RATIOS. Returns how many do, or -1 where they are less than half of those that are not
 * missing. */
static int32_t judge_sensors(const homeo_episode *e, const double *z, const double *before)
{
    const double *estimate = homeo_full(e, HOMEO_FULL_ESTIMATE), *variance = homeo_full(e, HOMEO_FULL_VARIANCE);
    double *accepted = homeo_full(e, HOMEO_FULL_ACCEPTED), *missing = homeo_full(e, HOMEO_FULL_SPREAD);
    double *ratios = homeo_full(e, HOMEO_FULL_RATIOS);
    int32_t count = 0, modelled = 0, i;

    for (i = 0; i < e->entries; i++) {
        const double innovation = z[i] - estimate[i], square = innovation * innovation;
        const double own = e->part[HOMEO_PART_COVARIANCE][i * (e->entries + 1)] + e->part[HOMEO_PART_NOISE][i];
        const double ratio = square / own;
        const int repeats = z[i] == before[i];
        double share;
        int agrees;

        missing[i] = 0.0;
        accepted[i] = 1.0;
        if (e->moves[i] == 0.0) {
            continue;
        }
        missing[i] = homeo_is_missing(e, z[i], i) ? 1.0 : 0.0;
        agrees = ratio <= HOMEO_OBSERVER_REJECT && !(missing[i] > 0.0 || (repeats && square > variance[i]));
        share = record_sensor(e, i, agrees, repeats, is_zero(e, z[i], i), innovation);
        /* A sensor that is wrong most of the time agrees now and then by chance. */
        agrees = agrees && (share < 0.5 || e->part[HOMEO_PART_AGREED][i] > HOMEO_OBSERVER_AGREE);
        accepted[i] = agrees ? 1.0 : 0.0;
        modelled += missing[i] > 0.0 ? 0 : 1;
        if (agrees) {
            ratios[count++] = ratio;
        }
    }
    return 2 * count < modelled ? -1 : count;
}

/* Update estimate and covariance by the sensors that agree with them, one after the other. */
void homeo_update_by_sensors(const homeo_episode *e, const double *z, const double *before)
{
    const int32_t d = e->entries, count = judge_sensors(e, z, before);
    double *p = e->part[HOMEO_PART_COVARIANCE], *inflation = e->row + HOMEO_AT_INFLATION;
    double *estimate = homeo_full(e, HOMEO_FULL_ESTIMATE), *gain = homeo_full(e, HOMEO_FULL_GAIN);
    int32_t i, j, k;

    if (count < 0) {
        begin_again(e, z);
        return;
    }
    if (count > 0) {
        const double middle = homeo_median(homeo_full(e, HOMEO_FULL_RATIOS), count) / HOMEO_OBSERVER_CHI_MEDIAN;
        const double factor = 1.0 + HOMEO_OBSERVER_FAST * (homeo_least(middle, 4.0) - 1.0);

        *inflation = homeo_least(homeo_most(*inflation * factor, 1.0), 100.0);
    }
    for (i = 0; i < d; i++) {
        const double spread = p[i * d + i] + e->part[HOMEO_PART_NOISE][i];
        double innovation;

        if (homeo_full(e, HOMEO_FULL_ACCEPTED)[i] == 0.0 || spread <= 0.0) {
            continue;
        }
        innovation = (z[i] - estimate[i]) / spread;
        for (j = 0; j < d; j++) {
            gain[j] = p[j * d + i];
        }
        for (j = 0; j < d; j++) {
            const double value = gain[j] / spread;

            estimate[j] += gain[j] * innovation;
            for (k = 0; k < d; k++) {
                p[j * d + k] -= value * gain[k];
            }
        }
    }
}

/* Estimate the sensors' noise: consecutive residuals are anticorrelated by it, not by model error (Mehra, 1970). */
static void learn_noise(const homeo_episode *e)
{
    const double *residual = homeo_full(e, HOMEO_FULL_RESIDUAL), *accepted = homeo_full(e, HOMEO_FULL_ACCEPTED);
    const double *variance = homeo_full(e, HOMEO_FULL_VARIANCE), share = weight_of(e, HOMEO_OBSERVER_SLOW);
    int32_t i, j;

    for (j = 0; j < e->entries; j++) {
        double above = 0.0, below = 0.0, *sums = e->part[HOMEO_PART_NOISE_SUMS] + 2 * j;

        if (e->part[HOMEO_PART_ACCEPTED][j] == 0.0) {
            continue;
        }
        for (i = 0; i < e->entries; i++) {
            const double slope = homeo_full(e, HOMEO_FULL_JACOBIAN + i)[j];

            if (accepted[i] > 0.0) {
                above -= slope * residual[i] * e->part[HOMEO_PART_RESIDUAL][j] / variance[i];
                below += slope * slope / variance[i];
            }
        }
        sums[0] += share * (above - sums[0]);
        sums[1] += share * (below - sums[1]);
        if (sums[1] > 0.0) {
            e->part[HOMEO_PART_NOISE][j] = homeo_most(0.0, sums[0] / sums[1]);
        }
    }
}

/* Advance the normal equations of the actuators' gains by the residual of this decision. */
static void learn_gains(const homeo_episode *e, const double *action)
{
    const double *residual = homeo_full(e, HOMEO_FULL_RESIDUAL), *accepted = homeo_full(e, HOMEO_FULL_ACCEPTED);
    const double *variance = homeo_full(e, HOMEO_FULL_VARIANCE), share = weight_of(e, HOMEO_OBSERVER_SLOW);
    const int32_t d = e->entries;
    int32_t i, k, m;

    for (k = 0; k < e->actions; k++) {
        double total = 0.0, *place = e->part[HOMEO_PART_GAIN_SUMS] + k;

        for (i = 0; i < d; i++) {
            if (accepted[i] > 0.0) {
                total += homeo_full(e, HOMEO_FULL_JACOBIAN + i)[d + k] * residual[i] / variance[i];
            }
        }
        *place += share * (total * action[k] - *place);
        for (m = 0; m < e->actions; m++) {
            place = e->part[HOMEO_PART_GAINS] + k * e->actions + m;
            total = 0.0;
            for (i = 0; i < d; i++) {
                const double *slope = homeo_full(e, HOMEO_FULL_JACOBIAN + i) + d;

                if (accepted[i] > 0.0) {
                    total += slope[k] * slope[m] / variance[i];
                }
            }
            *place += share * (total * action[k] * action[m] - *place);
        }
    }
}

/* Update the estimate by the measurement z of `back` decisions ago, which `before` preceded, and predict it over the
 * latency, to HOMEO_FULL_ESTIMATE. */
void homeo_filter_measurement(const homeo_episode *e, const double *z, const double *before, int32_t back)
{
    const double *first = e->part[HOMEO_PART_ACTIONS] + back * e->actions, *action;
    double *residual = homeo_full(e, HOMEO_FULL_RESIDUAL), *mean = homeo_full(e, HOMEO_FULL_MEAN);
    double *estimate = homeo_full(e, HOMEO_FULL_ESTIMATE), *variance = homeo_full(e, HOMEO_FULL_VARIANCE);
    const double *accepted = homeo_full(e, HOMEO_FULL_ACCEPTED);
    int32_t i, lag;

    find_latency(e, z, before, first);
    for (i = 0; i < e->entries; i++) {
        residual[i] = z[i] - mean[i];
    }
    action = first + (int32_t)e->row[HOMEO_AT_LAG] * e->actions;
    homeo_fill(e, e->part[HOMEO_PART_STATE], action);
    homeo_predict(e, estimate, variance);
    homeo_differentiate(e, e->entries + e->actions);
    compare(e, z);
    homeo_propagate(e, variance);
    homeo_update_by_sensors(e, z, before);
    learn_noise(e);
    learn_gains(e, action);
    for (i = 0; i < e->entries; i++) {
        e->part[HOMEO_PART_STATE][i] = estimate[i];
        e->part[HOMEO_PART_RESIDUAL][i] = residual[i];
        e->part[HOMEO_PART_ACCEPTED][i] = accepted[i];
        e->part[HOMEO_PART_CLEANED][i] = accepted[i] > 0.0 ? z[i] : estimate[i];
    }
    e->row[HOMEO_AT_SINCE] += 1.0;
    for (lag = (int32_t)e->row[HOMEO_AT_LAG] - 1; lag >= 0; lag--) {
        homeo_fill(e, estimate, first + lag * e->actions);
        homeo_predict(e, mean, homeo_full(e, HOMEO_FULL_SPREAD));
        for (i = 0; i < e->entries; i++) {
            estimate[i] = mean[i];
        }
    }
}

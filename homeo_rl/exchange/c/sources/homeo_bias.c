/* The estimate of sensor biases: constant or drifting offsets, and scale errors.
 *
 * Two hypotheses are followed in an alarm, beside the filter of the state: every sensor reads the truth plus an offset,
 * or the truth times a factor. The bias theta [D] is the state of a Kalman filter of its own: the forward model says
 * what z_t - u_t theta - f(z_{t-1} - u_{t-1} theta, a) scatters around, with u = 1 for offsets, and u = the reading in
 * deviations, from its zero, for factors. */
#include "homeo_observer_internal.h"

/* One hypothesis: its parts of the row. */
typedef struct {
    int kind;
    double *theta, *p;          /* [D], [D][D] */
    double *errors, *inflation; /* [2], [1] */
} bias;

static bias bias_of(const homeo_episode *e, int kind)
{
    const int32_t d = e->entries;
    bias b;

    b.kind = kind;
    b.theta = e->part[HOMEO_PART_BIAS] + kind * d;
    b.p = e->part[HOMEO_PART_BIAS_COVARIANCE] + kind * d * d;
    b.errors = e->part[HOMEO_PART_BIAS_ERROR] + 2 * kind;
    b.inflation = e->part[HOMEO_PART_BIAS_INFLATION] + kind;
    return b;
}

/* What the bias of sensor i is multiplied by: 1, or its reading in deviations. */
static double unit_of(double center, double spread, int kind, double z)
{
    return kind == HOMEO_OFFSETS ? 1.0 : z + center / spread;
}

static double unit(const homeo_episode *e, const bias *b, const double *z, int32_t i)
{
    return unit_of(e->center[i], e->spread[i], b->kind, z[i]);
}

/* Begin both hypotheses; where it `starts`, z is the first measurement of an episode, which says more. */
void homeo_begin_biases(const homeo_episode *e, const double *z, int starts)
{
    const int32_t d = e->entries;
    int32_t kind, i;

    e->row[HOMEO_AT_BIAS_SINCE] = 0.0;
    for (kind = HOMEO_OFFSETS; kind <= HOMEO_SCALES; kind++) {
        const bias b = bias_of(e, kind);

        b.errors[0] = b.errors[1] = 0.0;
        *b.inflation = 1.0;
        for (i = 0; i < d * d; i++) {
            b.p[i] = 0.0;
        }
        for (i = 0; i < d; i++) {
            const double u = unit(e, &b, z, i), variance = e->start_variance[i] + 1e-6;
            const double prior = e->moves[i] > 0.0 ? HOMEO_OBSERVER_PRIOR * HOMEO_OBSERVER_PRIOR : 0.0;
            const double spread = u * u * prior + variance, residual = z[i] - e->start_mean[i];
            const int known = starts && residual * residual < HOMEO_OBSERVER_REJECT_BIAS * spread;

            b.theta[i] = known ? u * prior / spread * residual : 0.0;
            b.p[i * d + i] = known ? prior * variance / spread : prior;
        }
    }
}

/* Whether measurements are as little expected without the bias as with it: then it is followed now and then. */
static int is_unlikely(const homeo_episode *e, const bias *b)
{
    return e->row[HOMEO_AT_BIAS_SINCE] >= HOMEO_OBSERVER_PROBATION &&
           b->errors[1] > HOMEO_OBSERVER_UNLIKELY * b->errors[0];
}

/* Write P slope to `gains`, and return slope^T P slope. */
static double project(const double *p, const double *slope, double *gains, int32_t d)
{
    double total = 0.0;
    int32_t j, k;

    for (j = 0; j < d; j++) {
        gains[j] = 0.0;
    }
    for (k = 0; k < d; k++) {
        for (j = 0; j < d; j++) {
            gains[j] += slope[k] * p[k * d + j];
        }
    }
    for (j = 0; j < d; j++) {
        total += slope[j] * gains[j];
    }
    return total;
}

/* Write by how much the bias lowers each residual [D][D], behind the Jacobian, and the variances of the residuals to
 * HOMEO_FULL_VARIANCE. */
static void expect(const homeo_episode *e, const bias *b, const double *z, const double *before)
{
    const double *scatter = homeo_full(e, HOMEO_FULL_SPREAD);
    double *expected = homeo_full(e, HOMEO_FULL_VARIANCE), *gains = homeo_full(e, HOMEO_FULL_GAIN);
    double walk = b->kind == HOMEO_OFFSETS ? HOMEO_OBSERVER_OFFSET_WALK : HOMEO_OBSERVER_SCALE_WALK;
    const int32_t d = e->entries;
    int32_t i, j;

    walk *= is_unlikely(e, b) ? HOMEO_OBSERVER_SPARSE : 1.0;
    for (j = 0; j < d; j++) {
        const double u = unit(e, b, before, j);

        for (i = 0; i < d; i++) {
            homeo_full(e, HOMEO_FULL_JACOBIAN + d + i)[j] = -homeo_full(e, HOMEO_FULL_JACOBIAN + i)[j] * u;
        }
        homeo_full(e, HOMEO_FULL_JACOBIAN + d + j)[j] += unit(e, b, z, j);
        if (e->moves[j] > 0.0) {
            b->p[j * d + j] += walk;
        }
    }
    for (i = 0; i < d; i++) {
        const double own = project(b->p, homeo_full(e, HOMEO_FULL_JACOBIAN + d + i), gains, d);

        expected[i] = own + *b->inflation * scatter[i];
    }
}

/* Advance the running errors of the measurement as it is (HOMEO_FULL_ESTIMATE) and without the bias, over what is
 * expected without it. */
static void record_errors(const homeo_episode *e, const bias *b)
{
    const double *expected = homeo_full(e, HOMEO_FULL_VARIANCE), *raw = homeo_full(e, HOMEO_FULL_ESTIMATE);
    const double *residual = homeo_full(e, HOMEO_FULL_RESIDUAL);
    const double weight = homeo_most(HOMEO_OBSERVER_RATE, 1.0 / (e->row[HOMEO_AT_BIAS_SINCE] + 1.0));
    double *ratios = homeo_full(e, HOMEO_FULL_ACCEPTED), measured = 0.0, without = 0.0, middle;
    int32_t count = 0, i;

    for (i = 0; i < e->entries; i++) {
        if (e->moves[i] > 0.0) {
            ratios[count] = residual[i] * residual[i] / expected[i];
            without += homeo_least(ratios[count], HOMEO_OBSERVER_CAP);
            measured += homeo_least(raw[i] * raw[i] / expected[i], HOMEO_OBSERVER_CAP);
            count++;
        }
    }
    if (count == 0) {
        return;
    }
    b->errors[0] += weight * (measured / count - b->errors[0]);
    b->errors[1] += weight * (without / count - b->errors[1]);
    middle = homeo_least(homeo_median(ratios, count) / HOMEO_OBSERVER_CHI_MEDIAN, 4.0);
    *b->inflation *= 1.0 + HOMEO_OBSERVER_FAST * (middle - 1.0);
    *b->inflation = homeo_least(homeo_most(*b->inflation, 1.0), 100.0);
}

/* Update a bias by the residuals of one sensor after another. */
static void update(const homeo_episode *e, const bias *b)
{
    const double *scatter = homeo_full(e, HOMEO_FULL_SPREAD);
    double *gains = homeo_full(e, HOMEO_FULL_GAIN), *begun = homeo_full(e, HOMEO_FULL_RATIOS);
    const int32_t d = e->entries;
    int32_t i, j, k;

    for (j = 0; j < d; j++) {
        begun[j] = b->theta[j];
    }
    for (i = 0; i < d; i++) {
        const double *slope = homeo_full(e, HOMEO_FULL_JACOBIAN + d + i);
        double residual = homeo_full(e, HOMEO_FULL_RESIDUAL)[i], spread;

        if (e->moves[i] == 0.0) {
            continue;
        }
        spread = project(b->p, slope, gains, d) + *b->inflation * scatter[i];
        for (j = 0; j < d; j++) {
            residual -= slope[j] * (b->theta[j] - begun[j]);
        }
        if (residual * residual > HOMEO_OBSERVER_REJECT_BIAS * spread) {
            continue;
        }
        for (j = 0; j < d; j++) {
            const double value = gains[j] / spread;

            b->theta[j] += value * residual;
            for (k = 0; k < d; k++) {
                b->p[j * d + k] -= value * gains[k];
            }
        }
    }
}

static void advance_bias(const homeo_episode *e, const bias *b, const double *z, const double *before,
                         const double *action)
{
    double *mean = homeo_full(e, HOMEO_FULL_MEAN), *residual = homeo_full(e, HOMEO_FULL_RESIDUAL);
    double *corrected = homeo_full(e, HOMEO_FULL_RATIOS);
    int32_t i;

    for (i = 0; i < e->entries; i++) {
        corrected[i] = before[i] - unit(e, b, before, i) * b->theta[i];
    }
    homeo_fill(e, corrected, action);
    homeo_predict(e, mean, homeo_full(e, HOMEO_FULL_SPREAD));
    for (i = 0; i < e->entries; i++) {
        residual[i] = z[i] - unit(e, b, z, i) * b->theta[i] - mean[i];
    }
    homeo_differentiate(e, e->entries);
    expect(e, b, z, before);
    record_errors(e, b);
    update(e, b);
}

/* Update both hypotheses by the measurement z of `back` decisions ago, which `before` preceded. Nothing is done where the
 * fault is known to be another one, and in a rehearsal. */
void homeo_advance_biases(const homeo_episode *e, const double *z, const double *before, int32_t back)
{
    const double *action = e->part[HOMEO_PART_ACTIONS] + back * e->actions, since = e->row[HOMEO_AT_BIAS_SINCE];
    double *mean = homeo_full(e, HOMEO_FULL_MEAN), *measured = homeo_full(e, HOMEO_FULL_ESTIMATE);
    int32_t kind, i;

    if (e->row[HOMEO_AT_CERTAIN] > 0.0 || since < 0.0) {
        return;
    }
    homeo_fill(e, before, action);
    homeo_predict(e, mean, homeo_full(e, HOMEO_FULL_SPREAD));
    for (i = 0; i < e->entries; i++) {
        measured[i] = z[i] - mean[i];
    }
    for (kind = HOMEO_OFFSETS; kind <= HOMEO_SCALES; kind++) {
        const bias b = bias_of(e, kind);

        if (is_unlikely(e, &b) && (int64_t)since % (int64_t)HOMEO_OBSERVER_SPARSE != 0) {
            continue;
        }
        advance_bias(e, &b, z, before, action);
    }
    e->row[HOMEO_AT_BIAS_SINCE] = since + 1.0;
}

void homeo_observer_correct(const homeo_forward *f, const double *row, int kind, float *observation)
{
    const int32_t d = f->entries;
    const double *theta = row + homeo_observer_offset(d, f->actions, HOMEO_PART_BIAS) + kind * d;
    int32_t i;

    for (i = 0; i < d; i++) {
        const double center = f->scales[i], spread = f->scales[d + i], reading = (double)observation[i];
        const double u = unit_of(center, spread, kind, (reading - center) / spread);

        observation[i] = (float)(reading - spread * u * theta[i]);
    }
}

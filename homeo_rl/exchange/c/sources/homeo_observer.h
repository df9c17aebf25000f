/* The observer: a gate that compares measurements with a forward model, and a Kalman filter while it is open.
 *
 * All that is known of an episode is one row of numbers, laid out as homeo_rl/observer/layout.py says. It is float64,
 * and the forward model is float32, whatever homeo_real is. Only sums, products, quotients and square roots are used, in
 * the order of the Python package's compiled kernels. The row and the estimate are therefore equal to theirs bit for
 * bit, where the compiler neither contracts products (-ffp-contract=off) nor reorders sums, and computes floats as
 * floats (FLT_EVAL_METHOD 0). No heap, no static data that changes, no library but math.h.
 *
 *     static double row[...], full[...];                    homeo_observer_row(), homeo_observer_numbers()
 *     static float work[...], out[...];                     homeo_observer_floats(), D
 *     homeo_observer_begin(&model, row);                    at the start of an episode
 *     homeo_observer_advance(&model, row, observation, last, out, full, work);    once a control period
 *
 * Shapes: D observation entries, K actions, H hidden units, F numbers of a row.
 *
 * What a decision costs in multiply-adds of float32, for D = 17, K = 6, H = 128. A prediction costs 24 thousand, one
 * column of a Jacobian 19 thousand.
 *     gate shut                  2 predictions                                              47 thousand
 *     gate open                  12 predictions and 57 columns, at a latency of 0           1.33 million
 *         each decision of latency    1 prediction more                                     24 thousand
 *         each of two biases     of these 1 prediction and 17 columns, left out where the fault is certain, and in three
 *                                decisions of four once the bias has explained nothing      0.34 million
 *     the gate opens             the filter runs through 8 measurements                     10.5 million
 *     measurements repeat        at most 13 predictions and 102 columns                     2.2 million
 * An open gate costs 46 thousand multiply-adds of float64 beside them. The stack is below 1 kB on a 32-bit machine.
 */
#ifndef HOMEO_OBSERVER_H
#define HOMEO_OBSERVER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Scalars of a row: row[HOMEO_AT_...]. */
enum {
    HOMEO_AT_DECISIONS, HOMEO_AT_GATE, HOMEO_AT_OPEN, HOMEO_AT_LAG, HOMEO_AT_INFLATION, HOMEO_AT_SINCE, HOMEO_AT_USED,
    HOMEO_AT_FROM_MEASURED, HOMEO_AT_FROM_ESTIMATE, HOMEO_AT_CERTAIN, HOMEO_AT_STAMPED, HOMEO_AT_FRAME,
    HOMEO_AT_IGNORED, HOMEO_AT_BIAS_SINCE
};

enum { HOMEO_OBSERVER_SCALARS = 16 }; /* places that are kept for them */

/* Parts of a row, in their order; homeo_observer_offset says where they begin. */
enum {
    HOMEO_PART_ACTIONS,         /* [LAGS + PAST][K] executed actions, scaled, newest first */
    HOMEO_PART_MEASURED,        /* [PAST][D] measurements, scaled, newest first */
    HOMEO_PART_SENSOR,          /* [D] running error of each sensor */
    HOMEO_PART_WATCHED,         /* [LAGS][2] before an alarm: running errors at each latency, and at none */
    HOMEO_PART_STILL,           /* [D] decisions for which each reading has been the same */
    HOMEO_PART_AGES,            /* [PAST] age of each measurement when it was read, in decisions */
    HOMEO_PART_STATE,           /* [D] the estimate, of `LAG` decisions ago */
    HOMEO_PART_COVARIANCE,      /* [D][D] of its error */
    HOMEO_PART_CLEANED,         /* [D] last measurement, with estimates in place of rejected entries */
    HOMEO_PART_RESIDUAL,        /* [D] last residual */
    HOMEO_PART_NOISE,           /* [D] variance of each sensor's noise */
    HOMEO_PART_NOISE_SUMS,      /* [D][2] the running sums that it is the quotient of */
    HOMEO_PART_LATENCY,         /* [LAGS] running error of each latency */
    HOMEO_PART_ACCEPTED,        /* [D] whether the last measurement was used */
    HOMEO_PART_REJECTED,        /* [D] running share of disagreements */
    HOMEO_PART_AGREED,          /* [D] decisions since the last one */
    HOMEO_PART_REPEATED,        /* [D] running share of readings that are equal to the one before */
    HOMEO_PART_ZERO,            /* [D] running share of readings of exactly 0 */
    HOMEO_PART_SHIFT,           /* [D] running mean of measurement minus estimate */
    HOMEO_PART_SCATTER,         /* [D] running mean of its square */
    HOMEO_PART_GAINS,           /* [K][K] normal equations of the actuators' gains */
    HOMEO_PART_GAIN_SUMS,       /* [K] their right-hand side */
    HOMEO_PART_BIAS,            /* [2][D] offsets, and shares of the readings that are too much */
    HOMEO_PART_BIAS_COVARIANCE, /* [2][D][D] of their errors */
    HOMEO_PART_BIAS_ERROR,      /* [2][2] running errors of a prediction from measurements as they are, and without it */
    HOMEO_PART_BIAS_INFLATION,  /* [2] factors of the process noise under them */
    HOMEO_PARTS
};

/* What the policy gets: row[HOMEO_AT_USED]. */
enum { HOMEO_NOTHING, HOMEO_ESTIMATE, HOMEO_WITHOUT_OFFSETS, HOMEO_WITHOUT_SCALES };

/* Biases: each sensor adds something, or multiplies by something. */
enum { HOMEO_OFFSETS, HOMEO_SCALES };

/* Settings, the same for all robots; layout.py says what each is for. */
enum { HOMEO_OBSERVER_LAGS = 6, HOMEO_OBSERVER_PAST = 8 };
#define HOMEO_OBSERVER_RATE (1.0 / 20.0)
#define HOMEO_OBSERVER_QUICK (1.0 / 5.0)
#define HOMEO_OBSERVER_FAST (1.0 / 10.0)
#define HOMEO_OBSERVER_SLOW (1.0 / 100.0)
#define HOMEO_OBSERVER_CAP 25.0
#define HOMEO_OBSERVER_LIMIT 1000.0
#define HOMEO_OBSERVER_WATCH 0.3
#define HOMEO_OBSERVER_LATE 1.3
#define HOMEO_OBSERVER_SWITCH 0.6
#define HOMEO_OBSERVER_SETTLED 5.0
#define HOMEO_OBSERVER_REJECT 16.0
#define HOMEO_OBSERVER_AGREE 3.0
#define HOMEO_OBSERVER_REPEATED_ERROR 3.0
#define HOMEO_OBSERVER_MOVING 0.01
#define HOMEO_OBSERVER_IGNORE 9.0
#define HOMEO_OBSERVER_MOST_IGNORED 6.0
#define HOMEO_OBSERVER_CLOSE 0.6
#define HOMEO_OBSERVER_LEAST_OPEN 50.0
#define HOMEO_OBSERVER_PRIOR 0.4
#define HOMEO_OBSERVER_OFFSET_WALK 5e-5
#define HOMEO_OBSERVER_SCALE_WALK 1e-7
#define HOMEO_OBSERVER_REJECT_BIAS 25.0
#define HOMEO_OBSERVER_UNLIKELY 0.9
#define HOMEO_OBSERVER_PROBATION 30.0
#define HOMEO_OBSERVER_SPARSE 4.0
#define HOMEO_OBSERVER_CHI_MEDIAN 0.455

/* A fitted model of a healthy robot, and the limits of its gate. It is constant and can stay in flash. */
typedef struct {
    int32_t entries, actions, hidden;     /* D, K, H */
    const float *w1, *b1;                 /* [D + K][H], [H] */
    const float *w2, *b2;                 /* [H][H], [H] */
    const float *w3, *b3;                 /* [H][2 D], [2 D]; means first */
    const float *change, *calibration;    /* [D] unit of the outputs, and factors of the deviations */
    const double *scales; /* [9 D + 2 K + 1]: mean and deviation of observations [D] each; middle and half-range of
                           * actions [K] each; whether a sensor moves [D]; limit of the gate; mean and variance of the
                           * first observation of an episode [D] each; limits of each sensor's error in one decision and
                           * on average [D] each, and of the decisions for which it reads the same [D]; whether it may
                           * read exactly 0 [D] */
} homeo_forward;

/* Numbers of a row, F; doubles of `full`; floats of `work`; and where a part of a row begins, the length of a row for
 * HOMEO_PARTS. `work` and `full` carry nothing from one decision to the next, so robots can share them. */
size_t homeo_observer_row(int32_t entries, int32_t actions);
size_t homeo_observer_numbers(int32_t entries, int32_t actions);
size_t homeo_observer_floats(int32_t entries, int32_t actions, int32_t hidden);
size_t homeo_observer_offset(int32_t entries, int32_t actions, int part);

/* Forget everything: an episode begins. */
void homeo_observer_begin(const homeo_forward *f, double *row);

/* Advance a row [F] by one decision: the measurement [D], and the action [K] that was executed after the one before, both
 * finite and in their own units; the action is not read in the first decision of an episode. Returns 1 where the gate is
 * open, and writes the estimate of the present observation to out [D]; else returns 0, and out is untouched. */
int homeo_observer_advance(const homeo_forward *f, double *row, const float *observation, const float *last, float *out,
                           double *full, float *work);

/* Subtract the identified bias, HOMEO_OFFSETS or HOMEO_SCALES, from an observation [D] in its own units, in place. */
void homeo_observer_correct(const homeo_forward *f, const double *row, int kind, float *observation);

/* Write mean [D] and variance [D] of the next scaled observation for x [D + K], a scaled observation and a scaled action.
 * x may be the last of the six rows of `work`. */
void homeo_forward_predict(const homeo_forward *f, const float *x, double *mean, double *variance, float *work);

/* Write d mean / d x for the first `size` inputs to jacobian [D][stride], at the point of the last prediction, whose
 * `work` is given. */
void homeo_forward_jacobian(const homeo_forward *f, double *jacobian, int32_t stride, int32_t size, float *work);

#ifdef __cplusplus
}
#endif

#endif

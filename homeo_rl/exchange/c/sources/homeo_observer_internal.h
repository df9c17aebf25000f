/* What the files of the observer share; not for users. */
#ifndef HOMEO_OBSERVER_INTERNAL_H
#define HOMEO_OBSERVER_INTERNAL_H

#include <math.h>

#include "homeo_observer.h"

/* Python's min and max: the first one where both are equal, and where one is not a number. */
static inline double homeo_least(double a, double b)
{
    return b < a ? b : a;
}

static inline double homeo_most(double a, double b)
{
    return b > a ? b : a;
}

/* Rows of `full`, each of `width` numbers. Those after the tenth are two square matrices: HOMEO_FULL_JACOBIAN and, D rows
 * later, `slopes` of a bias or half of a product. */
enum {
    HOMEO_FULL_Z,        /* the scaled measurement of this decision */
    HOMEO_FULL_ESTIMATE, /* the estimate; in the gate, the prediction from the measurement before */
    HOMEO_FULL_VARIANCE, /* of the prediction of the estimate; of the gate's prediction */
    HOMEO_FULL_ACCEPTED, /* whether each sensor was used */
    HOMEO_FULL_MEAN,     /* another prediction, and */
    HOMEO_FULL_SPREAD,   /* its variance; in the update, whether a reading is missing */
    HOMEO_FULL_RESIDUAL,
    HOMEO_FULL_RATIOS,   /* what is sorted for a median; what a state or a bias was before */
    HOMEO_FULL_GAIN,
    HOMEO_FULL_BEFORE,   /* what the measurement before lets expect without a latency */
    HOMEO_FULL_JACOBIAN
};

/* Rows of `work`: two hidden layers, the derivatives of their activation, the outputs, and the inputs. */
enum { HOMEO_WORK_H1, HOMEO_WORK_D1, HOMEO_WORK_H2, HOMEO_WORK_D2, HOMEO_WORK_OUT, HOMEO_WORK_X, HOMEO_WORK_ROWS };

/* One episode in one decision: the parts of its row, of the model's scales and of the scratch space. */
typedef struct {
    const homeo_forward *model;
    int32_t entries, actions, width; /* D, K, numbers in a row of `full` */
    double *row, *end;               /* of the episode, and what lies behind it */
    double *part[HOMEO_PARTS];
    double *full;
    float *work, *x; /* x: the row of inputs */
    const double *center, *spread, *action_center, *action_spread, *moves, *limit, *start_mean, *start_variance;
    const double *single, *sensor, *still, *zeros;
} homeo_episode;

static inline double *homeo_full(const homeo_episode *e, int32_t row)
{
    return e->full + (size_t)row * (size_t)e->width;
}

/* homeo_forward.c */
int32_t homeo_forward_width(int32_t entries, int32_t actions, int32_t hidden); /* floats in a row of `work` */
void homeo_fill(const homeo_episode *e, const double *values, const double *action);
void homeo_predict(const homeo_episode *e, double *mean, double *variance);
void homeo_prepare_lags(const homeo_episode *e);
void homeo_predict_lag(const homeo_episode *e, const double *action, double *mean, double *variance);
void homeo_differentiate(const homeo_episode *e, int32_t size);

/* homeo_filter.c */
double homeo_median(double *values, int32_t count);
int homeo_is_missing(const homeo_episode *e, double value, int32_t i);
void homeo_propagate(const homeo_episode *e, const double *variance);
void homeo_update_by_sensors(const homeo_episode *e, const double *z, const double *before);
void homeo_filter_measurement(const homeo_episode *e, const double *z, const double *before, int32_t back);

/* homeo_stamped.c */
int homeo_was_moving(const homeo_episode *e);
double homeo_find_repeated_age(const homeo_episode *e, const double *z);
void homeo_begin_stamped(const homeo_episode *e);
double homeo_filter_stamped(const homeo_episode *e, const double *z, double age);

/* homeo_bias.c */
void homeo_begin_biases(const homeo_episode *e, const double *z, int starts);
void homeo_advance_biases(const homeo_episode *e, const double *z, const double *before, int32_t back);

#endif

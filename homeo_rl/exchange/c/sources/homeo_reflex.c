/* The reflex beside a policy: sensor events, a compiled network of spiking neurons, gates on the action. The equations
 * are those of the Python package's snn/recurrent.py and agents/reflex.py. */
#include "homeo_internal.h"

static int32_t sources_of(const homeo_reflex *r)
{
    return 1 + r->lines + r->neurons;
}

void homeo_rest_reflex(homeo *h)
{
    const homeo_reflex *r = h->policy->reflex;
    int32_t n;

    for (n = 0; n < r->neurons; n++) {
        h->reflex_potential[n] = R(0);
    }
    for (n = 0; n < (1 + r->reach) * sources_of(r); n++) {
        h->reflex_past[n] = R(0);
    }
}

static int happens(const homeo_event *event, const homeo_real *observation)
{
    int32_t k, count = 0;

    for (k = 0; k < event->entries; k++) {
        const homeo_real x = observation[event->entry[k]];

        count += event->above ? x > event->level : x < event->level;
    }
    return count >= event->least;
}

/* One spike step; the first row of `reflex_past` becomes that of this step. */
static void step(homeo *h, const homeo_real *observation)
{
    const homeo_reflex *r = h->policy->reflex;
    const int32_t sources = sources_of(r);
    homeo_real *now = h->reflex_past, *spikes = now + 1 + r->lines;
    int32_t n, k, stage;

    for (n = (1 + r->reach) * sources - 1; n >= sources; n--) {
        now[n] = now[n - sources];
    }
    now[0] = R(1);
    for (k = 0; k < r->lines; k++) {
        now[1 + k] = happens(&r->event[k], observation) ? R(1) : R(0);
    }
    for (n = 0; n < r->neurons; n++) {
        spikes[n] = R(0);
    }
    for (stage = 0; stage < r->stages; stage++) {
        for (n = 0; n < r->neurons; n++) {
            homeo_real total = R(0), v = r->beta * h->reflex_potential[n];

            if (r->stage[n] != stage) {
                continue;
            }
            if (r->reset == HOMEO_SOFT_NEXT) {
                v -= spikes[sources + n];
            }
            for (k = 0; k < r->taps; k++) {
                total += r->weight[(size_t)n * (size_t)r->taps + (size_t)k] * now[r->place[k]];
            }
            v += total;
            spikes[n] = v > R(1) ? R(1) : R(0);
            v = r->reset == HOMEO_SOFT ? v - spikes[n] : r->reset == HOMEO_HARD ? v * (R(1) - spikes[n]) : v;
            h->reflex_potential[n] = v;
        }
    }
}

static void inhibit(const homeo_policy *p, const homeo_gate *gate, homeo_real *action)
{
    homeo_real least = R(0);
    int32_t k;

    for (k = 0; k < gate->entries; k++) {
        const homeo_real above = action[gate->entry[k]] - p->low[gate->entry[k]];

        least = k == 0 ? above : MIN(least, above);
    }
    for (k = 0; k < gate->entries; k++) {
        homeo_real *entry = &action[gate->entry[k]];

        *entry = gate->keep_difference ? *entry - least : p->low[gate->entry[k]];
    }
}

static void apply(const homeo_policy *p, const homeo_gate *gate, homeo_real *action)
{
    int32_t k;

    if (gate->kind == HOMEO_INHIBIT) {
        inhibit(p, gate, action);
        return;
    }
    for (k = 0; k < gate->entries; k++) {
        homeo_real *entry = &action[gate->entry[k]];

        if (gate->kind == HOMEO_OVERRIDE) {
            *entry = gate->values[k];
        } else {
            const homeo_real raised = MAX(*entry, gate->low);

            *entry = MIN(raised, gate->high);
        }
    }
}

void homeo_act_reflex(homeo *h, const homeo_real *observation, homeo_real *action)
{
    const homeo_reflex *r = h->policy->reflex;
    int32_t k;

    step(h, observation);
    for (k = 0; k < r->gates; k++) {
        if (h->reflex_past[1 + r->lines + r->gate[k].output] > R(0)) {
            apply(h->policy, &r->gate[k], action);
        }
    }
}

/* Normal numbers as numpy.random.Generator.standard_normal draws them: the ziggurat of Marsaglia and Tsang (2000). */
#include "homeo_internal.h"

#include "homeo_normal_tables.h"

#define TAIL 3.6541528853610088 /* where the lowest strip begins */

/* A number beyond TAIL (Marsaglia, 1964). */
static double draw_tail(homeo_random *r, int negative)
{
    for (;;) {
        const double x = -0.27366123732975828 * log1p(-homeo_random_double(r)); /* 1 / TAIL */
        const double y = -log1p(-homeo_random_double(r));

        if (y + y > x * x) {
            return negative ? -(TAIL + x) : TAIL + x;
        }
    }
}

double homeo_random_normal(homeo_random *r)
{
    for (;;) {
        const uint64_t bits = homeo_random_word(r), place = bits >> 9 & UINT64_C(0xfffffffffffff);
        const unsigned strip = (unsigned)(bits & 0xffu);
        const double size = (double)place * normal_width[strip], x = bits & 0x100u ? -size : size;

        if (place < normal_inside[strip]) {
            return x;
        }
        if (strip == 0) {
            return draw_tail(r, (place >> 8 & 1u) != 0);
        }
        if ((normal_height[strip - 1] - normal_height[strip]) * homeo_random_double(r) + normal_height[strip] <
            exp(-0.5 * x * x)) {
            return x;
        }
    }
}

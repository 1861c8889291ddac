/* Many networks of two sigmoid layers at once, written for their exact sizes: squared error summed over the batch, SGD.
 *
 * N_IN, N_HIDDEN, N_OUT, BATCH, LANES and REAL come from the command line. The model is the innermost index: LANES
 * models lie side by side, and the compiler vectorises over them. Each has a learning rate of its own.
 */
#include <math.h>
#include <string.h>
#include <tgmath.h>

#define EACH(i, n) for (int i = 0; i < (n); i++)
#define OWN EACH(m, LANES)

typedef struct {
    REAL w_first[N_IN][N_HIDDEN][LANES], b_first[N_HIDDEN][LANES];
    REAL w[N_HIDDEN][N_OUT][LANES], b[N_OUT][LANES];
} Models;

#define N_PARAMETERS (N_IN * N_HIDDEN + N_HIDDEN + N_HIDDEN * N_OUT + N_OUT)

/* One batch forward and back; the gradients are added to g. */
static inline void pass(const Models *p, Models *g, const REAL *x, const REAL *y)
{
    REAL hidden[N_HIDDEN][LANES], out[N_OUT][LANES], d_out[N_OUT][LANES], d_hidden[N_HIDDEN][LANES];
    EACH(j, N_HIDDEN) {
        OWN hidden[j][m] = p->b_first[j][m];
        EACH(i, N_IN) OWN hidden[j][m] += x[i] * p->w_first[i][j][m];
        OWN hidden[j][m] = 1 / (1 + exp(-hidden[j][m]));
    }
    EACH(k, N_OUT) {
        OWN out[k][m] = p->b[k][m];
        EACH(j, N_HIDDEN) OWN out[k][m] += hidden[j][m] * p->w[j][k][m];
        OWN out[k][m] = 1 / (1 + exp(-out[k][m]));
        OWN d_out[k][m] = 2 * (out[k][m] - y[k]) * out[k][m] * (1 - out[k][m]);
    }
    EACH(j, N_HIDDEN) {
        OWN d_hidden[j][m] = 0;
        EACH(k, N_OUT) OWN d_hidden[j][m] += d_out[k][m] * p->w[j][k][m];
        OWN d_hidden[j][m] *= hidden[j][m] * (1 - hidden[j][m]);
    }
    EACH(k, N_OUT) {
        EACH(j, N_HIDDEN) OWN g->w[j][k][m] += hidden[j][m] * d_out[k][m];
        OWN g->b[k][m] += d_out[k][m];
    }
    EACH(j, N_HIDDEN) {
        EACH(i, N_IN) OWN g->w_first[i][j][m] += x[i] * d_hidden[j][m];
        OWN g->b_first[j][m] += d_hidden[j][m];
    }
}

/* Train a block of LANES models; `parameters` is (n_parameters, LANES), w, b of each layer in turn. */
void train_block(const REAL *x, const REAL *y, REAL *parameters, const REAL *rates, long n_samples, long n_epochs)
{
    Models p, g;
    REAL *own = (REAL *)&p, *slope = (REAL *)&g;
    memcpy(&p, parameters, sizeof p);
    for (long epoch = 0; epoch < n_epochs; epoch++)
        for (long start = 0; start + BATCH <= n_samples; start += BATCH) {
            memset(&g, 0, sizeof g);
            EACH(s, BATCH) pass(&p, &g, x + (start + s) * N_IN, y + (start + s) * N_OUT);
            EACH(q, N_PARAMETERS) OWN own[q * LANES + m] -= rates[m] * slope[q * LANES + m];
        }
    memcpy(parameters, &p, sizeof p);
}

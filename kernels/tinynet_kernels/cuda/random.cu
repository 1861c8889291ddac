// Kernels of the random numbers.
#include "philox.cuh"
#include "types.cuh"

namespace tinynet {

/// A mask of n elements: four of them for each block of the generator.
template <typename T>
__global__ void dropout_mask(
    unsigned long long seed, unsigned long long step, Word layer, Word threshold, T kept, T* mask, Index n) {
    for (Index block = first_x(); 4 * block < n; block += step_x()) {
        const Words words = mask_words(seed, step, layer, Word(block));
#pragma unroll
        for (int lane = 0; lane < 4; ++lane) {
            if (4 * block + lane < n) {
                mask[4 * block + lane] = mask_element(words.word[lane], threshold, kept);
            }
        }
    }
}

/// Masks of many models, n elements each: every model has its own seed, step and rate.
template <typename T>
__global__ void dropout_masks(
    const unsigned long long* seeds, const unsigned long long* steps, Word layer, const double* rates, T* masks, Index n) {
    const Index model = model_of_block();
    const unsigned long long seed = seeds[model], step = steps[model];
    const double rate = rates[model];
    const Word threshold = Word(rate * 4294967296.0);
    const T kept = T(1 / (1 - rate));
    masks += model * n;
    for (Index block = first_x(); 4 * block < n; block += step_x()) {
        const Words words = mask_words(seed, step, layer, Word(block));
#pragma unroll
        for (int lane = 0; lane < 4; ++lane) {
            if (4 * block + lane < n) {
                masks[4 * block + lane] = mask_element(words.word[lane], threshold, kept);
            }
        }
    }
}

/// Philox of n counters; counters and words are (4, n).
__global__ void philox_words(const unsigned long long* counters, Word k0, Word k1, unsigned long long* words, Index n) {
    for (Index i = first_x(); i < n; i += step_x()) {
        Words counter;
        for (int k = 0; k < 4; ++k) {
            counter.word[k] = Word(counters[k * n + i]);
        }
        const Words block = philox(counter, k0, k1);
        for (int k = 0; k < 4; ++k) {
            words[k * n + i] = block.word[k];
        }
    }
}

}  // namespace tinynet

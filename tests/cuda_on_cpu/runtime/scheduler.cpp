// The scheduler: runs the threads of a block as fibers, and the blocks one after another.
//
// A fiber goes on until it meets a barrier, a warp call or its end. Nothing preempts it, so what a kernel without a
// race computes cannot depend on the order in which the fibers take their turns; the launch chooses that order.
//
// This file is compiled without ThreadSanitizer even when the kernels are compiled with it: its own accesses are
// bookkeeping, and what orders the CUDA threads is told to ThreadSanitizer by hand.
#include "runtime.hpp"

#include <link.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <vector>

#include "fiber.hpp"

#ifdef CUDA_ON_CPU_TSAN
#include <sanitizer/tsan_interface.h>
#endif

// Defined in assembly by builder.py: all arrays declared `extern __shared__` are this memory.
extern thread_local char cuda_on_cpu_dynamic_shared[] __attribute__((visibility("hidden")));

namespace cuda_on_cpu {

constexpr size_t DYNAMIC_CAPACITY = CUDA_ON_CPU_DYNAMIC_SHARED;
constexpr size_t DYNAMIC_GUARD = 1024;  // lies behind the capacity
constexpr int MOST_THREADS = 1024;
constexpr int POISON = 0xff;            // NaN in every floating type, -1 in every integer

uint3 thread_index, block_index;
dim3 block_size, grid_size;

namespace {

enum class State : uint8_t { fresh, ready, at_block, at_warp, done };

struct Fiber {
    Context context;
    char* stack;
    State state;
    uint8_t block_turn, warp_turn;
    Site site;
    unsigned mask;        // of the warp call: who takes part,
    uint64_t value;       // what this lane hands in,
    int source;           // the lane whose value it asks for, or NO_LANE,
    bool answered;        // whether that lane takes part,
    uint64_t answer;      // its value,
    unsigned ballot;      // and the lowest bits of all values
    uint3 index;
    Votes votes;
    void* tsan;
};

struct Warp {
    unsigned waiting;  // lanes at a warp call
    unsigned gone;     // lanes that have returned, or do not exist
};

constexpr int NO_LANE = -1;

Fiber fibers[MOST_THREADS];
Warp warps[MOST_THREADS / 32];
Stacks stacks;
Context scheduler;
int current, n_threads, n_live, n_at_block;
Votes votes;
bool failed;
char message[1024];
Body body;
void* arguments;

// ---------------------------------------------------------------------------------------------------------------------
// What ThreadSanitizer is told. Tags come in pairs, used by turns: a thread that wakes late from one barrier must not
// be ordered after what others release at the next.

#ifdef CUDA_ON_CPU_TSAN
constexpr bool TAGS = true;
char start_tag, end_tag, block_tags[2], warp_tags[MOST_THREADS][2];
void* scheduler_tsan;
void tsan_release(char* tag) { __tsan_release(tag); }
void tsan_acquire(char* tag) { __tsan_acquire(tag); }
void tsan_switch(void* fiber) { __tsan_switch_to_fiber(fiber, __tsan_switch_to_fiber_no_sync); }
void tsan_create(Fiber& fiber) { fiber.tsan = __tsan_create_fiber(0); }
void tsan_destroy(Fiber& fiber) { __tsan_destroy_fiber(fiber.tsan); }
void tsan_begin() { scheduler_tsan = __tsan_get_current_fiber(); }
#else
constexpr bool TAGS = false;
char start_tag, end_tag, block_tags[1], warp_tags[1][1];
void* scheduler_tsan;
void tsan_release(char*) {}
void tsan_acquire(char*) {}
void tsan_switch(void*) {}
void tsan_create(Fiber&) {}
void tsan_destroy(Fiber&) {}
void tsan_begin() {}
#endif

char* block_tag(int turn) { return &block_tags[TAGS ? turn : 0]; }
char* warp_tag(int warp, unsigned mask, int turn) {
    return TAGS ? &warp_tags[warp * 32 + __builtin_ctz(mask)][turn] : &warp_tags[0][0];
}

// ---------------------------------------------------------------------------------------------------------------------

void report(const char* format, va_list list) {
    if (failed) return;
    failed = true;
    int n = vsnprintf(message, sizeof message, format, list);
    n = std::min(n, static_cast<int>(sizeof message) - 1);
    const uint3 t = fibers[current].index;
    snprintf(message + n, sizeof message - static_cast<size_t>(n), " (block %u,%u,%u thread %u,%u,%u)", block_index.x,
             block_index.y, block_index.z, t.x, t.y, t.z);
}

__attribute__((format(printf, 1, 2))) void note_failure(const char* format, ...) {
    va_list list;
    va_start(list, format);
    report(format, list);
    va_end(list);
}

bool same(Site a, Site b) { return a.line == b.line && (a.file == b.file || !strcmp(a.file, b.file)); }

void to_scheduler() {
    tsan_switch(scheduler_tsan);
    switch_context(fibers[current].context, scheduler);
}

void release_block() {
    const Fiber* first = nullptr;
    for (int i = 0; i < n_threads; ++i) {
        Fiber& fiber = fibers[i];
        if (fiber.state != State::at_block) continue;
        if (!first) first = &fiber;
        if (!same(first->site, fiber.site))
            note_failure("threads met at different barriers: __syncthreads at %s:%d and at %s:%d", first->site.file,
                         first->site.line, fiber.site.file, fiber.site.line);
        fiber.votes = votes;
        fiber.state = State::ready;
    }
    n_at_block = 0;
    votes = {0, true, false};
}

// Let the lanes of `mask` go on if all that have not returned wait, with this same mask. Their values change hands
// here: a lane that goes on late must not see what the others hand in to their next call.
void try_release_warp(int warp, unsigned mask) {
    Warp& w = warps[warp];
    if (((w.waiting | w.gone) & mask) != mask) return;
    Fiber* lanes = &fibers[warp * 32];
    const unsigned present = w.waiting & mask;
    const Fiber& first = lanes[__builtin_ctz(present)];
    unsigned ballot = 0;
    for (unsigned rest = present; rest; rest &= rest - 1) {
        const int i = __builtin_ctz(rest);
        if (lanes[i].mask != mask) return;
        ballot |= static_cast<unsigned>(lanes[i].value & 1) << i;
    }
    for (unsigned rest = present; rest; rest &= rest - 1) {
        Fiber& fiber = lanes[__builtin_ctz(rest)];
        if (!same(first.site, fiber.site))
            note_failure("lanes met at different warp calls: at %s:%d and at %s:%d", first.site.file, first.site.line,
                         fiber.site.file, fiber.site.line);
        fiber.ballot = ballot;
        fiber.answered = fiber.source >= 0 && fiber.source < 32 && (present >> fiber.source & 1);
        if (fiber.answered) fiber.answer = lanes[fiber.source].value;
        fiber.state = State::ready;
    }
    w.waiting &= ~present;
}

void finish() {
    Fiber& me = fibers[current];
    me.state = State::done;
    if (--n_live && n_at_block == n_live) release_block();
    Warp& w = warps[current / 32];
    w.gone |= 1u << lane();
    for (unsigned rest = w.waiting; rest; rest &= rest - 1)
        if (w.waiting & rest & -rest) try_release_warp(current / 32, fibers[(current & ~31) + __builtin_ctz(rest)].mask);
}

void fiber_main() {
    tsan_acquire(&start_tag);
    body(arguments);
    tsan_release(&end_tag);
    finish();
    to_scheduler();
    __builtin_unreachable();
}

// ---------------------------------------------------------------------------------------------------------------------
// Shared memory. Static __shared__ variables are thread_local (a trick that gives them static storage without `static`,
// which `extern __shared__` could not bear), so this library's thread-local block is all of the block's shared memory.

struct Bytes { char* begin; size_t size; };

int find_shared(dl_phdr_info* info, size_t, void* result) {
    const auto here = reinterpret_cast<uintptr_t>(&scheduler);
    for (int i = 0; i < info->dlpi_phnum; ++i) {
        const auto& segment = info->dlpi_phdr[i];
        const uintptr_t begin = info->dlpi_addr + segment.p_vaddr;
        if (segment.p_type != PT_LOAD || here < begin || here >= begin + segment.p_memsz) continue;
        for (int j = 0; j < info->dlpi_phnum; ++j)
            if (info->dlpi_phdr[j].p_type == PT_TLS)
                *static_cast<Bytes*>(result) = {static_cast<char*>(info->dlpi_tls_data), info->dlpi_phdr[j].p_memsz};
        return 1;
    }
    return 0;
}

class SharedMemory {
    Bytes all_{nullptr, 0};
    char* dynamic_ = nullptr;
    size_t used_;

    void poison_static() {
        char* end = all_.begin + all_.size;
        char* after = dynamic_ + DYNAMIC_CAPACITY + DYNAMIC_GUARD;
        memset(all_.begin, POISON, static_cast<size_t>(dynamic_ - all_.begin));
        memset(after, POISON, static_cast<size_t>(end - after));
    }
    // Equal to itself moved by one: all bytes are the first one. memcmp is many times quicker than a loop that may end.
    bool untouched(size_t from, size_t to) const {
        return dynamic_[from] == static_cast<char>(POISON) && !memcmp(dynamic_ + from, dynamic_ + from + 1, to - from - 1);
    }
    void check(size_t from, size_t to) const {
        if (untouched(from, to)) return;
        size_t i = from;
        while (dynamic_[i] == static_cast<char>(POISON)) ++i;
        note_failure("write past the launch's %zu bytes of dynamic shared memory, at byte %zu", used_, i);
    }

public:
    explicit SharedMemory(size_t used) : dynamic_(cuda_on_cpu_dynamic_shared), used_(used) {
        dl_iterate_phdr(find_shared, &all_);
        memset(dynamic_, POISON, DYNAMIC_CAPACITY + DYNAMIC_GUARD);
    }
    void begin_block() {
        poison_static();
        memset(dynamic_, POISON, used_);
    }
    void end_block() const { check(used_, used_ + DYNAMIC_GUARD); }
    void end_launch() const { check(used_, DYNAMIC_CAPACITY + DYNAMIC_GUARD); }
};

// ---------------------------------------------------------------------------------------------------------------------

struct Random {
    uint32_t state;
    explicit Random(unsigned seed) : state(seed * 2654435761u + 12345u) { state |= 1u; }
    uint32_t below(uint32_t n) {  // xorshift32
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        return static_cast<uint32_t>((static_cast<uint64_t>(state) * n) >> 32);
    }
};

template <class Index>
void arrange(std::vector<Index>& order, Order how, Random& random) {
    if (how != Order::random) return;
    for (size_t i = order.size(); i > 1; --i)
        std::swap(order[i - 1], order[random.below(static_cast<uint32_t>(i))]);
}

template <class Index>
std::vector<Index> initial_order(size_t n, Order how) {
    std::vector<Index> order(n);
    for (size_t i = 0; i < n; ++i) order[i] = static_cast<Index>(how == Order::reverse ? n - 1 - i : i);
    return order;
}

void begin_threads() {
    n_live = n_threads;
    n_at_block = 0;
    votes = {0, true, false};
    for (int i = 0; i < n_threads; ++i) {
        Fiber& fiber = fibers[i];
        const auto n = static_cast<unsigned>(i);
        fiber.state = State::fresh;
        fiber.block_turn = fiber.warp_turn = 0;
        fiber.index = {n % block_size.x, n / block_size.x % block_size.y, n / (block_size.x * block_size.y)};
        tsan_create(fiber);
    }
    for (int w = 0; w * 32 < n_threads; ++w) {
        const int lanes = std::min(32, n_threads - w * 32);
        warps[w].waiting = 0;
        warps[w].gone = lanes == 32 ? 0u : ~0u << lanes;
    }
}

void go_on(int number) {
    Fiber& fiber = fibers[number];
    if (fiber.state == State::fresh) {
        fiber.stack = stacks.take();
        fiber.context.prepare(fiber.stack, fiber_main);
        fiber.state = State::ready;
    }
    current = number;
    thread_index = fiber.index;
    tsan_switch(fiber.tsan);
    switch_context(scheduler, fiber.context);
    if (fiber.state == State::done) {
        stacks.give(fiber.stack);
        fiber.stack = nullptr;
    }
}

void report_deadlock() {
    const Fiber *block = nullptr, *warp = nullptr;
    for (int i = 0; i < n_threads; ++i) {
        if (fibers[i].state == State::at_block && !block) block = &fibers[current = i];
        if (fibers[i].state == State::at_warp && !warp) warp = &fibers[current = i];
    }
    if (block && warp)
        note_failure("deadlock: threads wait at __syncthreads at %s:%d, others at a warp call at %s:%d",
                     block->site.file, block->site.line, warp->site.file, warp->site.line);
    else
        note_failure("deadlock: lanes wait at a warp call at %s:%d for lanes of the mask %08x that never come",
                     warp->site.file, warp->site.line, warp->mask);
}

void end_threads() {
    for (int i = 0; i < n_threads; ++i) {
        Fiber& fiber = fibers[i];
        tsan_destroy(fiber);
        // Only after a failure is a thread still on its stack. It never returns to it.
        if (fiber.state != State::done && fiber.state != State::fresh) stacks.give(fiber.stack);
    }
}

void run_block(std::vector<int>& order, Order how, Random& random) {
    begin_threads();
    while (n_live && !failed) {
        bool progress = false;
        arrange(order, how, random);
        for (int number : order) {
            if (fibers[number].state > State::ready) continue;
            progress = true;
            go_on(number);
            if (failed) break;
        }
        if (!progress) report_deadlock();
    }
    end_threads();
}

}  // namespace

int lane() { return current & 31; }

void fail(const char* format, ...) {
    va_list list;
    va_start(list, format);
    report(format, list);
    va_end(list);
    to_scheduler();
    __builtin_unreachable();
}

Votes block_barrier(bool predicate, Site site) {
    Fiber& me = fibers[current];
    char* tag = block_tag(me.block_turn ^= 1);
    tsan_release(tag);
    votes.count += predicate;
    votes.all &= predicate;
    votes.any |= predicate;
    me.state = State::at_block;
    me.site = site;
    if (++n_at_block == n_live) release_block();
    to_scheduler();  // even the last to arrive: the launch's order decides who goes on first
    tsan_acquire(tag);
    return me.votes;
}

static Fiber& warp_call(unsigned mask, uint64_t value, int source, Site site) {
    Fiber& me = fibers[current];
    const int warp = current / 32;
    if (!(mask >> lane() & 1)) fail("warp call at %s:%d by a lane outside its own mask %08x", site.file, site.line, mask);
    char* tag = warp_tag(warp, mask, me.warp_turn ^= 1);
    tsan_release(tag);
    me.state = State::at_warp;
    me.mask = mask;
    me.value = value;
    me.source = source;
    me.site = site;
    warps[warp].waiting |= 1u << lane();
    try_release_warp(warp, mask);
    to_scheduler();
    tsan_acquire(tag);
    return me;
}

void warp_barrier(unsigned mask, Site site) { warp_call(mask, 0, NO_LANE, site); }

uint64_t warp_exchange(unsigned mask, uint64_t value, int source, Site site) {
    const Fiber& me = warp_call(mask, value, source, site);
    if (!me.answered) fail("shuffle at %s:%d reads lane %d, which does not take part", site.file, site.line, source);
    return me.answer;
}

unsigned warp_ballot(unsigned mask, bool predicate, Site site) {
    return warp_call(mask, predicate, NO_LANE, site).ballot;
}

const char* run(const Launch& launch, Body kernel, void* values) {
    body = kernel;
    arguments = values;
    grid_size = {launch.grid[0], launch.grid[1], launch.grid[2]};
    block_size = {launch.block[0], launch.block[1], launch.block[2]};
    n_threads = static_cast<int>(block_size.x * block_size.y * block_size.z);
    failed = false;
    current = 0;
    Random random(launch.seed);
    SharedMemory shared(launch.shared_bytes);
    tsan_begin();
    tsan_release(&start_tag);
    auto blocks = initial_order<unsigned>(size_t(grid_size.x) * grid_size.y * grid_size.z, launch.order);
    auto threads = initial_order<int>(static_cast<size_t>(n_threads), launch.order);
    arrange(blocks, launch.order, random);
    for (unsigned block : blocks) {
        block_index = {block % grid_size.x, block / grid_size.x % grid_size.y, block / (grid_size.x * grid_size.y)};
        shared.begin_block();
        run_block(threads, launch.order, random);
        if (!failed) shared.end_block();
        if (failed) return message;
        // Shared memory is used again by the next block. Blocks are therefore ordered for ThreadSanitizer: it looks
        // for races within a block.
        tsan_acquire(&end_tag);
        tsan_release(&start_tag);
    }
    shared.end_launch();
    return failed ? message : nullptr;
}

}  // namespace cuda_on_cpu

extern "C" __attribute__((visibility("default"))) void* cuda_on_cpu_join_stacks(void* others) {
    return cuda_on_cpu::stacks.join(others);
}

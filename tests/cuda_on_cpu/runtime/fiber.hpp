// Fibers: stacks that take turns on one operating-system thread.
#pragma once
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#if !defined(__x86_64__) || defined(CUDA_ON_CPU_UCONTEXT)
#include <ucontext.h>
#endif

namespace cuda_on_cpu {

constexpr size_t STACK_BYTES = 256 * 1024;

#if defined(__x86_64__) && !defined(CUDA_ON_CPU_UCONTEXT)

// System V ABI: a call keeps rbx, rbp and r12-r15; all else is the caller's to save. swapcontext would make two
// system calls for the signal mask at every barrier of every thread.
asm(R"(
    .text
    .type cuda_on_cpu_switch, @function
cuda_on_cpu_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq (%rsi), %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size cuda_on_cpu_switch, .-cuda_on_cpu_switch
)");
extern "C" void cuda_on_cpu_switch(void** save, void** resume) asm("cuda_on_cpu_switch");

struct Context {
    void* stack_pointer = nullptr;

    void prepare(char* stack, void (*entry)()) {
        auto top = reinterpret_cast<uintptr_t*>(stack + STACK_BYTES);
        *--top = 0;                                     // keeps the ABI's alignment, and ends a debugger's backtrace
        *--top = reinterpret_cast<uintptr_t>(entry);    // where `ret` goes
        for (int i = 0; i < 6; ++i) *--top = 0;         // the registers that are popped
        stack_pointer = top;
    }
};

inline void switch_context(Context& from, Context& to) { cuda_on_cpu_switch(&from.stack_pointer, &to.stack_pointer); }

#else

struct Context {
    ucontext_t context;

    void prepare(char* stack, void (*entry)()) {
        getcontext(&context);
        context.uc_stack.ss_sp = stack;
        context.uc_stack.ss_size = STACK_BYTES;
        context.uc_link = nullptr;
        makecontext(&context, entry, 0);
    }
};

inline void switch_context(Context& from, Context& to) { swapcontext(&from.context, &to.context); }

#endif

// A few stacks suffice for a kernel without barriers: a thread that ends leaves its stack to the next. All libraries of a
// process use the same ones, since one launches at a time: each stack is two mappings with its guard, and Linux gives a
// process 65,530.
class Stacks {
    static constexpr int MOST = 1024;
    char* free_[MOST];
    int n_free_ = 0;
    char* memory_ = nullptr;

public:
    // Uses the stacks of another library, or new ones if that has none; returns them.
    void* join(void* others) {
        const size_t guard = static_cast<size_t>(sysconf(_SC_PAGESIZE)), each = guard + STACK_BYTES;
        memory_ = static_cast<char*>(others);
        if (!memory_) {
            void* made = mmap(nullptr, MOST * each, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            if (made == MAP_FAILED) abort();
            memory_ = static_cast<char*>(made);
            for (int i = 0; i < MOST; ++i)
                if (mprotect(memory_ + i * each, guard, PROT_NONE)) abort();
        }
        for (n_free_ = 0; n_free_ < MOST; ++n_free_) free_[n_free_] = memory_ + (MOST - 1 - n_free_) * each + guard;
        return memory_;
    }
    char* take() {
        if (!memory_) join(nullptr);
        return free_[--n_free_];
    }
    void give(char* stack) { free_[n_free_++] = stack; }
};

}  // namespace cuda_on_cpu

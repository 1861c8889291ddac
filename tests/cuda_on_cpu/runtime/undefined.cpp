// What -fsanitize calls where C++ leaves the outcome undefined: the launch stops with the line.
//
// Without libubsan: its messages go to stderr, and the launch would go on. The structures are GCC's and Clang's; each
// begins with the place in the source.
#include "runtime.hpp"

namespace {

struct Place { const char* file; uint32_t line, column; };
struct Type { uint16_t kind, info; char name[1]; };
struct TypeMismatch { Place place; const Type* type; uint8_t log_alignment, check; };
struct OutOfBounds { Place place; const Type *array, *index; };

}  // namespace

extern "C" {

void __ubsan_handle_type_mismatch_v1(TypeMismatch* data, uintptr_t address) {
    if (!address) cuda_on_cpu::fail("access through a null pointer at %s:%u", data->place.file, data->place.line);
    cuda_on_cpu::fail("misaligned address %#zx for %s, which needs %d bytes' alignment, at %s:%u",
                      static_cast<size_t>(address), data->type->name, 1 << data->log_alignment, data->place.file,
                      data->place.line);
}
void __ubsan_handle_out_of_bounds(OutOfBounds* data, uintptr_t index) {
    cuda_on_cpu::fail("index %lld out of bounds for %s at %s:%u", static_cast<long long>(index), data->array->name,
                      data->place.file, data->place.line);
}

#define CUDA_ON_CPU_UNDEFINED(name, what)                                                    \
    void __ubsan_handle_##name(Place* place, uintptr_t, uintptr_t) {                         \
        cuda_on_cpu::fail(what " at %s:%u", place->file, place->line);                       \
    }
CUDA_ON_CPU_UNDEFINED(shift_out_of_bounds, "shift by more than the type's bits")
CUDA_ON_CPU_UNDEFINED(divrem_overflow, "division by zero, or overflow of a division,")
CUDA_ON_CPU_UNDEFINED(add_overflow, "signed overflow of an addition")
CUDA_ON_CPU_UNDEFINED(sub_overflow, "signed overflow of a subtraction")
CUDA_ON_CPU_UNDEFINED(mul_overflow, "signed overflow of a multiplication")
CUDA_ON_CPU_UNDEFINED(negate_overflow, "signed overflow of a negation")
CUDA_ON_CPU_UNDEFINED(float_cast_overflow, "conversion of a number too large for the integer type")
#undef CUDA_ON_CPU_UNDEFINED

}  // extern "C"

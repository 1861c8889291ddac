// What builder.py's launchers are made of: a kernel's parameters in words, and its launch from an array of pointers.
//
// Without std::string and std::tuple, which would be most of the time that it takes to compile a kernel.
#pragma once
#include <stdio.h>

#include <type_traits>
#include <utility>

namespace cuda_on_cpu {

// A scalar is a letter and its bytes, as in NumPy ("f4", "i8", "u1", "b1"); a vector appends its length ("f4x2"); any
// other struct is "S" and its bytes. "v" is void, "p" a pointer: both only as the target of one. A pointer ends in "*",
// and begins with "c" where what it points to is const.
struct Code {
    char letter;
    int bytes, lanes;
};

template <class T>
struct CodeOf {
    static constexpr char letter = std::is_same_v<T, bool>       ? 'b'
                                   : std::is_floating_point_v<T> ? 'f'
                                   : std::is_integral_v<T>       ? (std::is_signed_v<T> ? 'i' : 'u')
                                   : std::is_pointer_v<T>        ? 'p'
                                                                 : 'S';
    static constexpr Code value{letter, letter == 'p' ? 0 : static_cast<int>(sizeof(T)), 1};
};
template <>
struct CodeOf<void> {
    static constexpr Code value{'v', 0, 1};
};

#define CUDA_ON_CPU_VECTOR_CODE(Type, Vector, lanes) \
    template <>                                      \
    struct CodeOf<Vector> {                          \
        static constexpr Code value{CodeOf<Type>::letter, sizeof(Type), lanes}; \
    };
#define CUDA_ON_CPU_VECTOR_CODES(Type, name)      \
    CUDA_ON_CPU_VECTOR_CODE(Type, name##2, 2)     \
    CUDA_ON_CPU_VECTOR_CODE(Type, name##3, 3)     \
    CUDA_ON_CPU_VECTOR_CODE(Type, name##4, 4)
CUDA_ON_CPU_VECTOR_CODES(float, float)
CUDA_ON_CPU_VECTOR_CODES(double, double)
CUDA_ON_CPU_VECTOR_CODES(int, int)
CUDA_ON_CPU_VECTOR_CODES(unsigned, uint)
CUDA_ON_CPU_VECTOR_CODES(short, short)
CUDA_ON_CPU_VECTOR_CODES(unsigned short, ushort)
CUDA_ON_CPU_VECTOR_CODES(signed char, char)
CUDA_ON_CPU_VECTOR_CODES(unsigned char, uchar)
CUDA_ON_CPU_VECTOR_CODES(long long, longlong)
CUDA_ON_CPU_VECTOR_CODES(unsigned long long, ulonglong)
#undef CUDA_ON_CPU_VECTOR_CODES
#undef CUDA_ON_CPU_VECTOR_CODE

inline int write_code(char* out, Code code, bool constant, bool pointer) {
    char bytes[16] = "", lanes[16] = "";
    if (code.bytes) snprintf(bytes, sizeof bytes, "%d", code.bytes);
    if (code.lanes > 1) snprintf(lanes, sizeof lanes, "x%d", code.lanes);
    return sprintf(out, "%s%c%s%s%s ", constant ? "c" : "", code.letter, bytes, lanes, pointer ? "*" : "");
}

template <class Parameter>
int write_parameter(char* out) {
    using T = std::remove_cv_t<Parameter>;
    using Target = std::remove_pointer_t<T>;
    if constexpr (std::is_pointer_v<T>)
        return write_code(out, CodeOf<std::remove_cv_t<Target>>::value, std::is_const_v<Target>, true);
    else if constexpr (std::is_enum_v<T>)
        return write_code(out, CodeOf<std::underlying_type_t<T>>::value, false, false);
    else
        return write_code(out, CodeOf<T>::value, false, false);
}

template <class... Parameters>
const char* describe(void (*)(Parameters...)) {
    static char text[40 * sizeof...(Parameters) + 1];
    int n = 0;
    ((n += write_parameter<Parameters>(text + n)), ...);
    return text;
}

template <class... Parameters>
struct Call {
    void (*kernel)(Parameters...);
    void** arguments;

    template <size_t... I>
    void make(std::index_sequence<I...>) const {
        kernel(*static_cast<std::remove_reference_t<Parameters>*>(arguments[I])...);
    }
    static void of_thread(void* call) { static_cast<const Call*>(call)->make(std::index_sequence_for<Parameters...>{}); }
};

template <class... Parameters>
const char* launch(void (*kernel)(Parameters...), const Launch& parameters, void** arguments) {
    Call<Parameters...> call{kernel, arguments};
    return run(parameters, &Call<Parameters...>::of_thread, &call);
}

}  // namespace cuda_on_cpu

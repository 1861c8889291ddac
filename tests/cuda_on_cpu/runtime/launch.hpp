// What builder.py's launchers are made of: a kernel's parameters in words, and its launch from an array of pointers.
#pragma once
#include <stdio.h>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace cuda_on_cpu {

// A scalar is a letter and its bytes, as in NumPy ("f4", "i8", "u1", "b1"); a vector appends its length ("f4x2"); any
// other struct is "S" and its bytes.
template <class T>
std::string type_code() {
    const std::string size = std::to_string(sizeof(T));
    if constexpr (std::is_same_v<T, bool>) return "b1";
    else if constexpr (std::is_floating_point_v<T>) return "f" + size;
    else if constexpr (std::is_enum_v<T>) return type_code<std::underlying_type_t<T>>();
    else if constexpr (std::is_integral_v<T>) return (std::is_signed_v<T> ? "i" : "u") + size;
    else return "S" + size;
}
#define CUDA_ON_CPU_VECTOR_CODES(Type, name)                                                \
    template <> inline std::string type_code<name##2>() { return type_code<Type>() + "x2"; } \
    template <> inline std::string type_code<name##3>() { return type_code<Type>() + "x3"; } \
    template <> inline std::string type_code<name##4>() { return type_code<Type>() + "x4"; }
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

// A pointer ends in "*", and begins with "c" where what it points to is const.
template <class T>
std::string parameter_code() {
    if constexpr (std::is_pointer_v<T>) {
        using Target = std::remove_cv_t<std::remove_pointer_t<T>>;
        const std::string constant = std::is_const_v<std::remove_pointer_t<T>> ? "c" : "";
        if constexpr (std::is_void_v<Target>) return constant + "v*";
        else if constexpr (std::is_pointer_v<Target>) return constant + "p*";
        else return constant + type_code<Target>() + "*";
    } else {
        return type_code<T>();
    }
}

template <class... Parameters>
const char* describe(void (*)(Parameters...)) {
    static const std::string text = ((parameter_code<std::remove_cv_t<Parameters>>() + " ") + ... + "");
    return text.c_str();
}

template <class... Parameters, size_t... I>
const char* launch(void (*kernel)(Parameters...), const Launch& launch, void** arguments, std::index_sequence<I...>) {
    struct Call {
        void (*kernel)(Parameters...);
        std::tuple<std::decay_t<Parameters>...> values;
    } call{kernel, {*static_cast<std::decay_t<Parameters>*>(arguments[I])...}};
    return run(launch, [](void* c) { std::apply(static_cast<Call*>(c)->kernel, static_cast<Call*>(c)->values); }, &call);
}

template <class... Parameters>
const char* launch(void (*kernel)(Parameters...), const Launch& parameters, void** arguments) {
    return launch(kernel, parameters, arguments, std::index_sequence_for<Parameters...>{});
}

}  // namespace cuda_on_cpu

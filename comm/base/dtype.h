#ifndef COMM_BASE_DTYPE_H_
#define COMM_BASE_DTYPE_H_

#include <bit>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace moe {

// What an element of memory is, in tensors and in messages alike.
enum class DType { kFloat32, kFloat64, kBFloat16, kInt32, kInt64 };

// The upper half of a float32; arithmetic happens in float32.
struct BFloat16 {
  uint16_t bits = 0;
};

inline float ToFloat(BFloat16 x) {
  return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16);
}
inline float ToFloat(float x) { return x; }

// Rounds to nearest, ties to even; NaN stays NaN (quiet).
inline BFloat16 ToBFloat16(float x) {
  uint32_t bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    return {static_cast<uint16_t>((bits >> 16) | 0x40u)};
  bits += 0x7fffu + ((bits >> 16) & 1u);
  return {static_cast<uint16_t>(bits >> 16)};
}

// FromFloat<T>(x): x rounded to T, a float or a BFloat16.
template <typename T>
T FromFloat(float x);
template <>
inline float FromFloat<float>(float x) {
  return x;
}
template <>
inline BFloat16 FromFloat<BFloat16>(float x) {
  return ToBFloat16(x);
}

// Bytes of one element.
int64_t SizeOf(DType dtype);

// "float32", "bfloat16", ...
absl::string_view Name(DType dtype);

// DTypeOf<T>(): the DType of a C++ type.
template <typename T>
constexpr DType DTypeOf();
template <>
constexpr DType DTypeOf<float>() {
  return DType::kFloat32;
}
template <>
constexpr DType DTypeOf<double>() {
  return DType::kFloat64;
}
template <>
constexpr DType DTypeOf<BFloat16>() {
  return DType::kBFloat16;
}
template <>
constexpr DType DTypeOf<int32_t>() {
  return DType::kInt32;
}
template <>
constexpr DType DTypeOf<int64_t>() {
  return DType::kInt64;
}

}  // namespace moe

#endif  // COMM_BASE_DTYPE_H_

#ifndef MOE_CPU_VECTOR_H_
#define MOE_CPU_VECTOR_H_

// Eight floats at a time, in the vector extensions of GCC and Clang: the
// compiler maps them to whatever -march offers. Only for files compiled with
// the kernels' -march: it decides how a vector is passed to a function.
//
// A loop over n elements takes whole vectors, then one tail:
//   ForEachVector(n, [&](int64_t i, int64_t lanes) {
//     Store(y + i, Exp(Load(x + i, lanes)), lanes);
//   });
// Tail lanes go through the same instructions as whole vectors, so an element's
// value does not depend on where in the array it stands.

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "comm/base/dtype.h"

namespace moe::cpu {

inline constexpr int64_t kLanes = 8;

using Float8 = float __attribute__((vector_size(32)));
using Int8 = int32_t __attribute__((vector_size(32)));
using UInt8 = uint32_t __attribute__((vector_size(32)));
using Half8 = uint16_t __attribute__((vector_size(16)));
using Float4 = float __attribute__((vector_size(16)));
using Double4 = double __attribute__((vector_size(32)));

inline Float8 Splat(float x) { return Float8{} + x; }

inline Float8 Load(const float* x) {
  Float8 v;
  std::memcpy(&v, x, sizeof(v));
  return v;
}
inline Float8 Load(const BFloat16* x) {
  Half8 bits;
  std::memcpy(&bits, x, sizeof(bits));
  return std::bit_cast<Float8>(__builtin_convertvector(bits, UInt8) << 16);
}

// Rounds as ToBFloat16 does: to nearest, ties to even, NaN stays NaN.
inline Half8 RoundToBFloat16(Float8 v) {
  const UInt8 bits = std::bit_cast<UInt8>(v);
  const UInt8 rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const UInt8 nan = (bits >> 16) | 0x40u;
  const Int8 is_nan = (v != v);
  return __builtin_convertvector(is_nan ? nan : rounded, Half8);
}

inline void Store(float* x, Float8 v) { std::memcpy(x, &v, sizeof(v)); }
inline void Store(BFloat16* x, Float8 v) {
  const Half8 bits = RoundToBFloat16(v);
  std::memcpy(static_cast<void*>(x), &bits, sizeof(bits));
}

// The first `lanes` elements; the other lanes hold `rest`.
template <typename T>
Float8 Load(const T* x, int64_t lanes, float rest = 0) {
  if (lanes == kLanes) return Load(x);
  Float8 v = Splat(rest);
  for (int64_t i = 0; i < lanes; ++i) v[i] = ToFloat(x[i]);
  return v;
}

// Leaves what follows the first `lanes` elements alone.
template <typename T>
void Store(T* x, Float8 v, int64_t lanes) {
  if (lanes == kLanes) return Store(x, v);
  for (int64_t i = 0; i < lanes; ++i) x[i] = FromFloat<T>(v[i]);
}

// body(i, lanes) for i = 0, 8, 16, ...; lanes is 8, at the end maybe fewer.
template <typename Body>
void ForEachVector(int64_t n, const Body& body) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, kLanes);
  if (i < n) body(i, n - i);
}

inline Float8 Max(Float8 a, Float8 b) { return a > b ? a : b; }

// e^x with an error below 1.5 units in the last place. Results below the
// smallest normal number are 0, above the largest infinity; NaN stays NaN.
// x = n ln 2 + r, and e^r = 1 + r + r^2 q(r) with q of degree 4 fitted to the
// relative error over |r| <= ln 2 / 2 (3e-9 before rounding).
inline Float8 Exp(Float8 x) {
  constexpr float kRound = 0x1.8p23f;  // adding it rounds to an integer
  constexpr float kLn2High = 0x1.62e4p-1f;
  constexpr float kLn2Low = 0x1.7f7d1cp-20f;
  const Float8 shifted = x * 0x1.715476p0f + kRound;
  const Float8 n = shifted - kRound;
  const Float8 r = (x - n * kLn2High) - n * kLn2Low;
  Float8 q = Splat(0x1.6a2350p-10f);
  q = q * r + 0x1.123a6cp-7f;
  q = q * r + 0x1.5558f4p-5f;
  q = q * r + 0x1.555490p-3f;
  q = q * r + 0x1.fffffcp-2f;
  const Float8 power = (q * r) * r + r + 1.0f;
  // Times 2^n, in the exponent's bits; the low bits of `shifted` hold n.
  const UInt8 bits =
      std::bit_cast<UInt8>(power) + (std::bit_cast<UInt8>(shifted) << 23);
  Float8 y = std::bit_cast<Float8>(bits);
  y = x < Splat(-87.33654f) ? Splat(0) : y;
  y = x > Splat(88.72283f) ? Splat(__builtin_inff()) : y;
  return x == x ? y : x;
}

// One instruction under -fno-math-errno.
inline Float8 Sqrt(Float8 x) {
  Float8 y;
  for (int i = 0; i < kLanes; ++i) y[i] = std::sqrt(x[i]);
  return y;
}

// 1 / (1 + e^-x).
inline Float8 Sigmoid(Float8 x) { return 1.0f / (1.0f + Exp(-x)); }

inline Double4 LowDoubles(Float8 v) {
  return __builtin_convertvector(__builtin_shufflevector(v, v, 0, 1, 2, 3),
                                 Double4);
}
inline Double4 HighDoubles(Float8 v) {
  return __builtin_convertvector(__builtin_shufflevector(v, v, 4, 5, 6, 7),
                                 Double4);
}

// Lanes in one fixed order.
inline float Sum(Float8 v) {
  return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}
inline double Sum(Double4 v) { return (v[0] + v[2]) + (v[1] + v[3]); }

inline float MaxLane(Float8 v) {
  float largest = v[0];
  for (int i = 1; i < kLanes; ++i) largest = v[i] > largest ? v[i] : largest;
  return largest;
}

}  // namespace moe::cpu

#endif  // MOE_CPU_VECTOR_H_

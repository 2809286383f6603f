#include "trainer/checkpoint/format/half.h"

#include <bit>

namespace moe {
namespace {

// Bits of float32 numbers without their sign.
constexpr uint32_t kInfinity = 0x7f800000u;
constexpr uint32_t kBeyondHalf = 0x47800000u;      // 2^16
constexpr uint32_t kSmallestNormal = 0x38800000u;  // 2^-14, of halves

}  // namespace

float HalfToFloat(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t exponent = (half >> 10) & 0x1fu;
  const uint32_t fraction = half & 0x3ffu;
  if (exponent == 0) {  // zero or subnormal: fraction 2^-24
    const float value = static_cast<float>(fraction) * 0x1p-24f;
    return sign != 0 ? -value : value;
  }
  if (exponent == 31)  // infinity or NaN
    return std::bit_cast<float>(sign | kInfinity | fraction << 13);
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
}

uint16_t FloatToHalf(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t size = bits & 0x7fffffffu;
  uint32_t half;
  if (size > kInfinity) {
    half = 0x7e00u | ((size >> 13) & 0x1ffu);
  } else if (size >= kBeyondHalf) {
    half = 0x7c00u;
  } else if (size < kSmallestNormal) {
    // Between 0.5 and 1 float32 numbers are 2^-24 apart, as half's subnormals:
    // the addition rounds.
    const float sum = std::bit_cast<float>(size) + 0.5f;
    half = std::bit_cast<uint32_t>(sum) - std::bit_cast<uint32_t>(0.5f);
  } else {
    // 13 bits go. A carry out of the fraction is the next exponent, and out of
    // the last exponent infinity.
    const uint32_t rounded = size + 0xfffu + ((size >> 13) & 1u);
    half = (rounded - (112u << 23)) >> 13;
  }
  return static_cast<uint16_t>(sign | half);
}

}  // namespace moe

#ifndef TRAINER_CHECKPOINT_FORMAT_HALF_H_
#define TRAINER_CHECKPOINT_FORMAT_HALF_H_

#include <cstdint>

namespace moe {

// IEEE 754 half precision, in files only: 1 sign, 5 exponent, 10 fraction bits.

// Exact.
float HalfToFloat(uint16_t half);

// Rounds to nearest, ties to even, to subnormals too; from 65520 on to
// infinity. NaN stays NaN (quiet).
uint16_t FloatToHalf(float x);

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_FORMAT_HALF_H_

#ifndef TESTS_TRAINER_PLANTED_WEIGHTS_H_
#define TESTS_TRAINER_PLANTED_WEIGHTS_H_

#include <cstdint>
#include <set>
#include <string>

#include "absl/functional/function_ref.h"
#include "tests/trainer/trainer_fixture.h"
#include "trainer/step/trainer.h"

namespace moe {

// An element's new value, from its row and column in the whole parameter.
using WeightEdit = absl::FunctionRef<float(
    const Parameter& parameter, int64_t row, int64_t column, float value)>;

// The initial weights, edited; the same on all ranks. Collective.
void SetWeights(Trainer& trainer, const TrainConfig& config, WeightEdit edit);

// The local parameter of this name; null if it is not on this rank.
const Parameter* FindLocal(Trainer& trainer, const std::string& name);

// Sets element `index` of a parameter on this rank alone, in its compute copy.
void Plant(Trainer& trainer, const Parameter& parameter, int64_t index,
           float value);

// Dimension kDarkDimension of the residual stream is 0: nothing writes to it
// and what reads it has weight 0, but for the norms. No update changes that.
inline constexpr int64_t kDarkDimension = 3;
float Darken(const Parameter& parameter, int64_t row, int64_t column,
             float value);

// Finite weights that fail on one token alone: its embedding is 1 in the dark
// dimension, and the norm before attention in layer 1 multiplies that by more
// than a float can hold.
inline constexpr int32_t kLitToken = 52;  // the last of SmallConfig
float LightTrap(const Parameter& parameter, int64_t row, int64_t column,
                float value);

// RandomSamples without kLitToken, but for one at token `place` of the
// sequences in `lit`, by their positions.
class LitSamples : public RandomSamples {
 public:
  LitSamples(const TrainConfig& config, std::set<int64_t> lit, size_t place);
  absl::Status Read(int64_t position, absl::Span<int32_t> inputs,
                    absl::Span<int32_t> targets,
                    absl::Span<int32_t> positions) const override;

 private:
  std::set<int64_t> lit_;
  size_t place_;
};

}  // namespace moe

#endif  // TESTS_TRAINER_PLANTED_WEIGHTS_H_

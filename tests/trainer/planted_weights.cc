#include "tests/trainer/planted_weights.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "comm/base/check.h"
#include "comm/base/status_macros.h"
#include "tests/test_device.h"

namespace moe {

void SetWeights(Trainer& trainer, const TrainConfig& config, WeightEdit edit) {
  const ParameterTable& table = trainer.table();
  const auto fill = [&](ArenaKind kind, int64_t begin, absl::Span<float> out) {
    InitialArena(config.model(), table, kind, config.run().seed(), begin, out);
    ForEachParameter(table, kind, begin, static_cast<int64_t>(out.size()),
                     [&](const Parameter& parameter, int64_t in_slice,
                         int64_t in_range, int64_t count) {
                       const int64_t columns = parameter.slice.num_columns;
                       for (int64_t i = 0; i < count; ++i) {
                         float& value = out[static_cast<size_t>(in_range + i)];
                         const int64_t row = (in_slice + i) / columns;
                         const int64_t column = (in_slice + i) % columns;
                         value =
                             edit(parameter, parameter.slice.first_row + row,
                                  parameter.slice.first_column + column, value);
                       }
                     });
    return absl::OkStatus();
  };
  CHECK(trainer.optimizer().Initialize(fill).ok());
}

const Parameter* FindLocal(Trainer& trainer, const std::string& name) {
  const int index = trainer.table().Find(name);
  CHECK(index >= 0);
  const Parameter& parameter =
      trainer.table().parameters()[static_cast<size_t>(index)];
  return parameter.local ? &parameter : nullptr;
}

void Plant(Trainer& trainer, const Parameter& parameter, int64_t index,
           float value) {
  const Tensor weights = trainer.weights().Get(parameter);
  CHECK(index >= 0 && index < weights.size());
  SetElement(weights, index, value);
}

float Darken(const Parameter& parameter, int64_t row, int64_t column,
             float value) {
  if (parameter.is_norm) return value;
  const bool writes = absl::StrContains(parameter.name, "o_proj") ||
                      absl::StrContains(parameter.name, "w2");
  return (writes ? row : column) == kDarkDimension ? 0 : value;
}

float LightTrap(const Parameter& parameter, int64_t row, int64_t column,
                float value) {
  const bool is_trap =
      parameter.name == "model.layers.1.input_layernorm.weight";
  if (is_trap && row == kDarkDimension) return 3e38f;
  const bool is_lit = parameter.name == "model.embed_tokens.weight" &&
                      row == kLitToken && column == kDarkDimension;
  return is_lit ? 1 : Darken(parameter, row, column, value);
}

LitSamples::LitSamples(const TrainConfig& config, std::set<int64_t> lit,
                       size_t place)
    : RandomSamples(config.model().vocab_size(),
                    config.batch().sequence_length()),
      lit_(std::move(lit)),
      place_(place) {}

absl::Status LitSamples::Read(int64_t position, absl::Span<int32_t> inputs,
                              absl::Span<int32_t> targets,
                              absl::Span<int32_t> positions) const {
  RETURN_IF_ERROR(RandomSamples::Read(position, inputs, targets, positions));
  for (absl::Span<int32_t> tokens : {inputs, targets})
    std::replace(tokens.begin(), tokens.end(), kLitToken, kLitToken - 1);
  if (lit_.contains(position)) inputs[place_] = kLitToken;
  return absl::OkStatus();
}

}  // namespace moe

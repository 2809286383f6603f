#include "trainer/checkpoint/restore.h"

#include "moe/weights.h"

namespace moe {

absl::Status ReadArena(const WeightsLoader& weights,
                       const ParameterTable& table, ArenaKind kind,
                       int64_t begin, absl::Span<float> out) {
  absl::Status status;
  FillArena(table, kind, begin, out,
            [&](const Parameter& parameter, int64_t in_tensor,
                absl::Span<float> part) {
              if (status.ok()) {
                status = weights.LoadParameter(parameter.name, in_tensor, part);
              }
            });
  return status;
}

absl::Status ReadMoments(const StateLoader& stored, TrainingState& state) {
  absl::Status status;
  state.ForEachOwned([&](const Parameter& parameter, const char* name,
                         int64_t begin, absl::Span<float> values) {
    ForEachRun(parameter.slice, parameter.num_columns(), begin,
               static_cast<int64_t>(values.size()),
               [&](int64_t in_tensor, int64_t in_slice, int64_t count) {
                 if (!status.ok()) return;
                 status = stored.Load(
                     parameter.name, name, parameter.num_columns(), in_tensor,
                     values.subspan(static_cast<size_t>(in_slice - begin),
                                    static_cast<size_t>(count)));
               });
  });
  return status;
}

}  // namespace moe

#include "trainer/checkpoint/restore.h"

#include "moe/weights.h"
#include "trainer/checkpoint/state_piece.h"

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
  state.ForEachOwned([&](const Parameter& parameter, int64_t begin,
                         absl::Span<float> first, absl::Span<float> second) {
    ForEachRun(parameter.slice, parameter.num_columns(), begin,
               static_cast<int64_t>(first.size()),
               [&](int64_t in_tensor, int64_t in_slice, int64_t count) {
                 const auto load = [&](const char* name,
                                       absl::Span<float> moment) {
                   if (!status.ok()) return;
                   status = stored.Load(
                       parameter.name, name, parameter.num_columns(), in_tensor,
                       moment.subspan(static_cast<size_t>(in_slice - begin),
                                      static_cast<size_t>(count)));
                 };
                 load(kFirstMoment, first);
                 load(kSecondMoment, second);
               });
  });
  return status;
}

}  // namespace moe

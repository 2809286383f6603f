#include "trainer/checkpoint/restore.h"

#include <algorithm>

#include "trainer/checkpoint/state_piece.h"

namespace moe {

absl::Status ReadArena(const WeightsLoader& weights,
                       const ParameterTable& table, ArenaKind kind,
                       int64_t begin, absl::Span<float> out) {
  std::fill(out.begin(), out.end(), 0.0f);
  absl::Status status;
  ForEachParameter(
      table, kind, begin, static_cast<int64_t>(out.size()),
      [&](const Parameter& parameter, int64_t in_slice, int64_t in_out,
          int64_t count) {
        ForEachRun(parameter.slice, parameter.num_columns(), in_slice, count,
                   [&](int64_t in_tensor, int64_t run_begin, int64_t run) {
                     if (!status.ok()) return;
                     const int64_t place = in_out + run_begin - in_slice;
                     status = weights.LoadParameter(
                         parameter.name, in_tensor,
                         out.subspan(static_cast<size_t>(place),
                                     static_cast<size_t>(run)));
                   });
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

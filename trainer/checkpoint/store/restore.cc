#include "trainer/checkpoint/store/restore.h"

#include <algorithm>
#include <vector>

#include "moe/parameters/weights.h"
#include "trainer/checkpoint/format/state_piece.h"

namespace moe {
namespace {

// The most of a run that is on its way from the host at once: 1 MiB.
constexpr int64_t kPieceElements = int64_t{1} << 18;

absl::Status LoadPiece(const StateLoader& stored, const OwnedRun& piece,
                       const char* state, absl::Span<float> out) {
  const Parameter& parameter = piece.parameter;
  absl::Status status;
  ForEachRun(parameter.slice, parameter.num_columns(), piece.begin, piece.count,
             [&](int64_t in_tensor, int64_t in_slice, int64_t count) {
               if (!status.ok()) return;
               status = stored.Load(
                   parameter.name, state, parameter.num_columns(), in_tensor,
                   out.subspan(static_cast<size_t>(in_slice - piece.begin),
                               static_cast<size_t>(count)));
             });
  return status;
}

}  // namespace

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
  std::vector<float> values;
  state.ForEachOwned([&](const OwnedRun& run) {
    for (const OptimizerState& kind : kOptimizerStates) {
      for (int64_t begin = 0; begin < run.count; begin += kPieceElements) {
        if (!status.ok()) return;
        const OwnedRun piece = {
            .parameter = run.parameter,
            .begin = run.begin + begin,
            .count = std::min(kPieceElements, run.count - begin)};
        values.resize(static_cast<size_t>(piece.count));
        status = LoadPiece(stored, piece, kind.name, absl::MakeSpan(values));
        if (status.ok()) status = state.SetState(piece, kind.name, values);
      }
    }
  });
  return status;
}

}  // namespace moe

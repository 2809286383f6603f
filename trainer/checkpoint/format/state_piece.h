#ifndef TRAINER_CHECKPOINT_FORMAT_STATE_PIECE_H_
#define TRAINER_CHECKPOINT_FORMAT_STATE_PIECE_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "moe/parameters/parameter_table.h"

namespace moe {

// Optimizer state has the shape of its parameter. A rank stores what it owns of
// it: some elements, in row-major order, of its slice of the whole tensor. The
// piece's name in the file says which, so that any layout finds what it needs:
//
//   model.layers.0.self_attn.o_proj.weight|first_moment|0:96,24:48|100:612
//
// elements [100, 612) of the slice of rows [0, 96) and columns [24, 48).
struct StatePiece {
  std::string parameter;
  std::string state;  // a name of kOptimizerStates
  Slice slice;
  int64_t begin = 0;
  int64_t count = 0;
};

inline constexpr char kFirstMoment[] = "first_moment";
inline constexpr char kSecondMoment[] = "second_moment";

// What the optimizer keeps of each trained parameter, an element for each of
// its own. Whoever stores, reads or checks state goes through these.
struct OptimizerState {
  const char* name;
  bool can_be_negative;
};
inline constexpr OptimizerState kOptimizerStates[] = {{kFirstMoment, true},
                                                      {kSecondMoment, false}};

std::string PieceName(const StatePiece& piece);
// Nothing for a name that is none; numbers are checked among themselves.
std::optional<StatePiece> ParsePieceName(absl::string_view name);

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_FORMAT_STATE_PIECE_H_

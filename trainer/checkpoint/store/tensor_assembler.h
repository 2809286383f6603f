#ifndef TRAINER_CHECKPOINT_STORE_TENSOR_ASSEMBLER_H_
#define TRAINER_CHECKPOINT_STORE_TENSOR_ASSEMBLER_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "comm/base/buffer.h"
#include "comm/process_groups.h"
#include "moe/parameters/parameter_table.h"
#include "trainer/checkpoint/store/training_state.h"

namespace moe {

// Brings rows of whole tensors to the one rank that writes them: a rank's slice
// is gathered in its reduction group, and the slices of a tensor group go to
// its writer.
class TensorAssembler {
 public:
  // Holds at most `max_elements` of a tensor, or one row if that is longer;
  // three times where tensors are split. All arguments outlive the assembler.
  static absl::StatusOr<std::unique_ptr<TensorAssembler>> Create(
      const ParameterTable& table, const ProcessGroups& groups,
      TrainingState& state, int64_t max_elements);

  // Rows of a parameter that are taken at once, at least 1.
  int64_t RowsAtOnce(const Parameter& parameter) const;

  // Rows [first_row, first_row + num_rows) of a local parameter's master
  // weights, valid until the next call; empty on all ranks but `writer`, a rank
  // of the world that holds the parameter. Collective over those that do.
  absl::StatusOr<absl::Span<const float>> Assemble(const Parameter& parameter,
                                                   int64_t first_row,
                                                   int64_t num_rows,
                                                   int writer);

 private:
  TensorAssembler(const ParameterTable& table, const ProcessGroups& groups,
                  TrainingState& state, int64_t max_elements)
      : table_(table),
        groups_(groups),
        state_(state),
        max_elements_(max_elements) {}

  // What tensor rank `rank` has of the rows.
  Slice SliceOfRows(const Parameter& parameter, int rank, int64_t first_row,
                    int64_t num_rows) const;
  // slices_ on tensor rank `writer` = the group's slices of the rows, one after
  // another. Collective over the tensor group.
  absl::Status SendToWriter(const Parameter& parameter, int64_t first_row,
                            int64_t num_rows, int writer);
  // whole_ = slices_ side by side.
  void JoinColumns(const Parameter& parameter, int64_t num_rows);

  absl::Span<float> Floats(const Buffer& buffer, int64_t count) const;

  const ParameterTable& table_;
  const ProcessGroups& groups_;
  TrainingState& state_;
  int64_t max_elements_;
  Buffer mine_;  // this rank's slice of the rows
  Buffer slices_;
  Buffer whole_;
};

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_STORE_TENSOR_ASSEMBLER_H_

#include "trainer/checkpoint/store/tensor_assembler.h"

#include <algorithm>
#include <vector>

#include "comm/base/check.h"
#include "comm/base/status_macros.h"

namespace moe {

absl::StatusOr<std::unique_ptr<TensorAssembler>> TensorAssembler::Create(
    const ParameterTable& table, const ProcessGroups& groups,
    TrainingState& state, int64_t max_elements) {
  int64_t largest_piece = 0;
  for (const Parameter& parameter : table.parameters()) {
    const int64_t piece = std::max(parameter.num_columns(), max_elements);
    largest_piece = std::max(largest_piece, std::min(parameter.size, piece));
  }
  std::unique_ptr<TensorAssembler> assembler(
      new TensorAssembler(table, groups, state, max_elements));
  const int64_t bytes = largest_piece * SizeOf(DType::kFloat32);
  ASSIGN_OR_RETURN(assembler->mine_, Buffer::Allocate(bytes));
  if (table.tensor_ranks() > 1) {
    ASSIGN_OR_RETURN(assembler->slices_, Buffer::Allocate(bytes));
    ASSIGN_OR_RETURN(assembler->whole_, Buffer::Allocate(bytes));
  }
  return assembler;
}

int64_t TensorAssembler::RowsAtOnce(const Parameter& parameter) const {
  return std::max<int64_t>(1, max_elements_ / parameter.num_columns());
}

absl::StatusOr<absl::Span<const float>> TensorAssembler::Assemble(
    const Parameter& parameter, int64_t first_row, int64_t num_rows,
    int writer) {
  const Slice slice =
      SliceOfRows(parameter, table_.tensor_rank(), first_row, num_rows);
  const absl::Span<float> mine = Floats(mine_, slice.size());
  if (!mine.empty()) {
    const int64_t skipped =
        (slice.first_row - parameter.slice.first_row) * slice.num_columns;
    RETURN_IF_ERROR(
        state_.Gather(parameter.arena, parameter.offset + skipped, mine));
  }
  const int rank = groups_.world().rank();
  const int tensor_ranks = table_.tensor_ranks();
  if (parameter.split == Split::kNone || tensor_ranks == 1)
    return rank == writer ? mine : absl::Span<const float>();

  // Tensor ranks are adjacent: other groups have nothing to send.
  if (rank / tensor_ranks != writer / tensor_ranks)
    return absl::Span<const float>();
  RETURN_IF_ERROR(
      SendToWriter(parameter, first_row, num_rows, writer % tensor_ranks));
  if (rank != writer) return absl::Span<const float>();
  const int64_t size = num_rows * parameter.num_columns();
  if (parameter.split == Split::kRows) return Floats(slices_, size);
  JoinColumns(parameter, num_rows);
  return Floats(whole_, size);
}

Slice TensorAssembler::SliceOfRows(const Parameter& parameter, int rank,
                                   int64_t first_row, int64_t num_rows) const {
  Slice slice = SliceOfTensorRank(parameter, rank, table_.tensor_ranks());
  const int64_t end =
      std::min(first_row + num_rows, slice.first_row + slice.num_rows);
  slice.first_row = std::max(first_row, slice.first_row);
  slice.num_rows = std::max<int64_t>(0, end - slice.first_row);
  return slice;
}

absl::Status TensorAssembler::SendToWriter(const Parameter& parameter,
                                           int64_t first_row, int64_t num_rows,
                                           int writer) {
  ProcessGroup& group = groups_[Axis::kTensor];
  std::vector<int64_t> sent(static_cast<size_t>(group.size()));
  std::vector<int64_t> received(sent.size());
  int64_t num_sent = 0;
  int64_t num_received = 0;
  for (int rank = 0; rank < group.size(); ++rank) {
    const int64_t size =
        SliceOfRows(parameter, rank, first_row, num_rows).size();
    if (rank == group.rank()) {
      sent[static_cast<size_t>(writer)] = size;
      num_sent = size;
    }
    if (group.rank() != writer) continue;
    received[static_cast<size_t>(rank)] = size;
    num_received += size;
  }
  const absl::Span<const float> mine = Floats(mine_, num_sent);
  return Annotate(
      group.AllToAllV(ViewOf(mine), sent, ViewOf(Floats(slices_, num_received)),
                      received),
      "gathering the slices of a tensor");
}

void TensorAssembler::JoinColumns(const Parameter& parameter,
                                  int64_t num_rows) {
  const float* from = static_cast<const float*>(slices_.data());
  float* whole = static_cast<float*>(whole_.data());
  for (int rank = 0; rank < table_.tensor_ranks(); ++rank) {
    const Slice slice =
        SliceOfTensorRank(parameter, rank, table_.tensor_ranks());
    for (int64_t row = 0; row < num_rows; ++row) {
      std::copy_n(from, slice.num_columns,
                  whole + row * parameter.num_columns() + slice.first_column);
      from += slice.num_columns;
    }
  }
}

absl::Span<float> TensorAssembler::Floats(const Buffer& buffer,
                                          int64_t count) const {
  CHECK(count * SizeOf(DType::kFloat32) <= buffer.num_bytes());
  return {static_cast<float*>(buffer.data()), static_cast<size_t>(count)};
}

}  // namespace moe

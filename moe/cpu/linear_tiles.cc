#include "moe/cpu/linear_tiles.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/base/check.h"
#include "comm/base/round_up.h"
#include "comm/base/status_macros.h"

namespace moe::cpu {
namespace {

// Of a result. At inner dims of 512 to 1024 a tile takes 0.5 to 2 ms on a core
// of 2024. Its weights stay in the second-level cache while its rows pass: of
// an 8192-word vocabulary's gradients, 15 % and more are lost without tiles.
struct TileSizes {
  int64_t rows = 256;
  int64_t columns = 512;
};

// Weights of up to this many elements are not cut: writing whole rows of a
// result gains up to 10 %.
constexpr int64_t kWholeWeights = int64_t{1} << 20;

// Rows that a tile of a weight gradient sums at once. Fewer, and reading and
// writing the tile for each sum begins to show (10 % at 256).
constexpr int64_t kSumRows = 512;

// Whether oneDNN is faster when it knows the number of rows beforehand. It then
// takes other kernels, which gain 4 to 6 % forward, and backward in bfloat16,
// but lose as much backward in float32 and more in weight gradients.
bool PrefersKnownRows(LinearOp op, DType in) {
  return op == LinearOp::kForward ||
         (op == LinearOp::kInputGradient && in == DType::kBFloat16);
}

// In bfloat16, where that gains a third and more at 64 to 192 rows, multiples
// of this many, up to a tile's, are known beforehand: an expert's number of
// rows changes with each step, which must create nothing (but where a step has
// so few rows that weights are cut for the first time, see ChooseSizes). A tile
// between two takes in as many rows of the next expert as its own lack, and
// does not keep their results.
constexpr int64_t kKnownRows = 8;

// A piece [begin, begin + size) of a dim.
struct Range {
  int64_t begin = 0;
  int64_t size = 0;
};

// The pieces of [0, n): as even as multiples of 16 allow, none above `limit`.
template <typename Body>
absl::Status ForEachPiece(int64_t n, int64_t limit, const Body& body) {
  if (n == 0) return absl::OkStatus();
  const int64_t pieces = CeilDiv(n, limit);
  const int64_t even = CeilDiv(n, pieces);
  const int64_t size = std::min(limit, RoundUp(even, 16));
  for (int64_t begin = 0; begin < n; begin += size)
    RETURN_IF_ERROR(body(Range{begin, std::min(size, n - begin)}));
  return absl::OkStatus();
}

// A piece of one expert's product. Rows beyond `step_rows` follow in further
// steps, which only weight gradients have.
struct Tile {
  const MatMul* product = nullptr;
  MatMulOperands first;  // of the first step
  int64_t x_step_bytes = 0;
  int64_t y_step_bytes = 0;
  int64_t step_rows = 0;
  int64_t rows = 0;
  // Where the result's rows are copied to from the thread's scratch memory, if
  // the product has more of them than the tile.
  void* kept = nullptr;
  int64_t kept_bytes = 0;
};

class TilePlan {
 public:
  TilePlan(MatMulEngine& engine, LinearOp op, bool accumulate,
           const LinearTensors& tensors, TileSizes sizes)
      : engine_(engine), tensors_(tensors), sizes_(sizes) {
    const bool forward = op == LinearOp::kForward;
    const bool to_input = op == LinearOp::kInputGradient;
    class_.op = op;
    class_.accumulate = accumulate;
    class_.in = forward ? tensors.x_RI.dtype() : tensors.y_RO.dtype();
    class_.out = forward    ? tensors.y_RO.dtype()
                 : to_input ? tensors.x_RI.dtype()
                            : tensors.w_eOI.dtype();
    class_.x_pitch = tensors.x_RI.dim(1);
    class_.w_pitch = tensors.x_RI.dim(1);
    class_.y_pitch = tensors.y_RO.dim(1);
  }

  // Column tiles outside, row tiles inside: a tile's weights serve all rows.
  absl::Status AddExpert(int64_t expert, Range rows) {
    const Range outputs{0, class_.y_pitch};
    const Range inputs{0, class_.x_pitch};
    if (class_.op == LinearOp::kForward) {
      return ForEachPiece(outputs.size, sizes_.columns, [&](Range columns) {
        return AddRows(expert, rows, columns, inputs);
      });
    }
    return ForEachPiece(inputs.size, sizes_.columns, [&](Range columns) {
      if (class_.op == LinearOp::kInputGradient)
        return AddRows(expert, rows, outputs, columns);
      return ForEachPiece(outputs.size, sizes_.columns, [&](Range piece) {
        return AddTile(expert, rows, piece, columns);
      });
    });
  }

  const std::vector<Tile>& tiles() const { return tiles_; }
  LinearOp op() const { return class_.op; }
  // Of a product, and of a result that is not kept whole.
  int64_t scratch_bytes() const { return scratch_bytes_; }
  int64_t result_bytes() const { return result_bytes_; }

 private:
  absl::Status AddRows(int64_t expert, Range rows, Range outputs,
                       Range inputs) {
    for (int64_t done = 0; done < rows.size; done += sizes_.rows) {
      const Range step{rows.begin + done,
                       std::min(sizes_.rows, rows.size - done)};
      RETURN_IF_ERROR(AddTile(expert, step, outputs, inputs));
    }
    return absl::OkStatus();
  }

  absl::Status AddTile(int64_t expert, Range rows, Range outputs,
                       Range inputs) {
    const auto at = [](const Tensor& tensor, int64_t element) -> void* {
      return static_cast<char*>(tensor.raw()) +
             element * SizeOf(tensor.dtype());
    };
    const int64_t O = class_.y_pitch;
    const int64_t I = class_.x_pitch;
    const int64_t w_row = expert * O + outputs.begin;
    const bool sums_rows = class_.op == LinearOp::kWeightGradient;
    const int64_t step_rows = sums_rows ? kSumRows : sizes_.rows;
    MatMulClass shape = class_;
    shape.outputs = outputs.size;
    shape.inputs = inputs.size;
    int64_t known_rows = 0;  // of the product; 0: it takes any number
    if (TakesKnownRows(shape)) {
      RETURN_IF_ERROR(MakeKnown(shape));
      known_rows = RoundUp(rows.size, kKnownRows);
      if (rows.begin + known_rows > tensors_.x_RI.dim(0)) known_rows = 0;
    } else if (rows.size == step_rows && PrefersKnownRows(shape.op, shape.in)) {
      known_rows = step_rows;
    }
    shape.rows = known_rows == 0 ? MatMulClass::kAnyRows : known_rows;
    ASSIGN_OR_RETURN(const MatMul* product, engine_.Get(shape));
    scratch_bytes_ = std::max(scratch_bytes_, product->ScratchBytes(step_rows));
    tiles_.push_back(
        {.product = product,
         .first = {at(tensors_.x_RI, rows.begin * I + inputs.begin),
                   at(tensors_.w_eOI, w_row * I + inputs.begin),
                   at(tensors_.y_RO, rows.begin * O + outputs.begin)},
         .x_step_bytes = step_rows * I * SizeOf(tensors_.x_RI.dtype()),
         .y_step_bytes = step_rows * O * SizeOf(tensors_.y_RO.dtype()),
         .step_rows = step_rows,
         .rows = rows.size});
    if (known_rows > rows.size) KeepFirstRows(tiles_.back(), known_rows);
    return absl::OkStatus();
  }

  // Whether products of `shape` are made for each known number of rows.
  static bool TakesKnownRows(const MatMulClass& shape) {
    return shape.in == DType::kBFloat16 && !shape.accumulate &&
           PrefersKnownRows(shape.op, shape.in) &&
           shape.outputs == shape.y_pitch && shape.inputs == shape.x_pitch;
  }

  // All products and scratch memory that tiles of `shape` may need in any step.
  absl::Status MakeKnown(MatMulClass shape) {
    if (known_are_made_) return absl::OkStatus();
    known_are_made_ = true;
    for (shape.rows = kKnownRows; shape.rows <= sizes_.rows;
         shape.rows += kKnownRows)
      RETURN_IF_ERROR(Make(shape));
    shape.rows = MatMulClass::kAnyRows;
    RETURN_IF_ERROR(Make(shape));
    result_bytes_ = std::max(result_bytes_, sizes_.rows * ResultRowBytes());
    return absl::OkStatus();
  }

  absl::Status Make(const MatMulClass& shape) {
    ASSIGN_OR_RETURN(const MatMul* product, engine_.Get(shape));
    scratch_bytes_ =
        std::max(scratch_bytes_, product->ScratchBytes(sizes_.rows));
    return absl::OkStatus();
  }

  int64_t ResultRowBytes() const {
    return (class_.op == LinearOp::kForward ? class_.y_pitch : class_.x_pitch) *
           SizeOf(class_.out);
  }

  void KeepFirstRows(Tile& tile, int64_t known_rows) const {
    tile.kept = class_.op == LinearOp::kForward ? tile.first.y : tile.first.x;
    tile.kept_bytes = tile.rows * ResultRowBytes();
    tile.rows = known_rows;
  }

  MatMulEngine& engine_;
  const LinearTensors& tensors_;
  TileSizes sizes_;
  MatMulClass class_;  // but for the tile's own dims
  std::vector<Tile> tiles_;
  int64_t scratch_bytes_ = 0;
  int64_t result_bytes_ = 0;
  bool known_are_made_ = false;  // of the one class that takes known rows
};

// The product of more rows than the tile has: see Tile::kept.
bool ExecuteAndKeep(const Tile& tile, LinearOp op, std::byte* result,
                    const MatMulWorker& worker) {
  MatMulOperands operands = tile.first;
  (op == LinearOp::kForward ? operands.y : operands.x) = result;
  if (!tile.product->Execute(operands, tile.rows, worker)) return false;
  std::memcpy(tile.kept, result, static_cast<size_t>(tile.kept_bytes));
  return true;
}

// Calls progress() after each step.
template <typename Progress>
bool ExecuteTile(const Tile& tile, const MatMulWorker& worker,
                 const Progress& progress) {
  const auto advance = [](void* data, int64_t bytes) -> void* {
    return static_cast<char*>(data) + bytes;
  };
  for (int64_t step = 0; step * tile.step_rows < tile.rows; ++step) {
    const MatMulOperands operands{
        advance(tile.first.x, step * tile.x_step_bytes), tile.first.w,
        advance(tile.first.y, step * tile.y_step_bytes)};
    const int64_t rows =
        std::min(tile.step_rows, tile.rows - step * tile.step_rows);
    if (!tile.product->Execute(operands, rows, worker)) return false;
    progress();
  }
  return true;
}

void ExecutePlan(CpuKernels& kernels, const TilePlan& plan) {
  const std::vector<Tile>& tiles = plan.tiles();
  const int64_t product_bytes = RoundUp(plan.scratch_bytes(), 64);
  const ThreadScratch scratch = kernels.ReserveThreadScratch(
      std::max<int64_t>(product_bytes + plan.result_bytes(), 1));
  if (scratch.is_null()) return;
  std::atomic<bool> failed = false;
  const auto execute = [&](size_t i, int thread) {
    const MatMulWorker worker{kernels.matmul()->stream(thread),
                              scratch.Get<std::byte>(thread)};
    const auto progress = [&] {
      if (thread == 0) kernels.Progress();  // the thread that called us
    };
    if (tiles[i].kept != nullptr) {
      std::byte* result = worker.scratch + product_bytes;
      if (!ExecuteAndKeep(tiles[i], plan.op(), result, worker)) failed = true;
      return progress();
    }
    if (!ExecuteTile(tiles[i], worker, progress)) failed = true;
  };
  const int threads = kernels.threads();  // all of them: see ParallelFor
  if (threads <= 1 || tiles.size() <= 1) {
    for (size_t i = 0; i < tiles.size(); ++i) execute(i, 0);
  } else {
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t i = 0; i < tiles.size(); ++i) execute(i, omp_get_thread_num());
  }
  if (failed)
    kernels.SetError(absl::InternalError("oneDNN failed in a matrix product"));
}

// Smaller tiles where there are fewer than two for a thread.
TileSizes ChooseSizes(int threads, LinearOp op, const LinearTensors& tensors) {
  const int64_t R = tensors.x_RI.dim(0);
  const int64_t I = tensors.x_RI.dim(1);
  const int64_t O = tensors.y_RO.dim(1);
  const int64_t experts = static_cast<int64_t>(tensors.offsets.size()) - 1;
  TileSizes sizes;
  if (op != LinearOp::kWeightGradient && O * I <= kWholeWeights)
    sizes.columns = op == LinearOp::kForward ? O : I;
  const auto num_tiles = [&] {
    const int64_t in = CeilDiv(I, sizes.columns);
    const int64_t out = CeilDiv(O, sizes.columns);
    if (op == LinearOp::kWeightGradient) return experts * in * out;
    const int64_t columns = op == LinearOp::kForward ? out : in;
    return std::max(CeilDiv(R, sizes.rows), experts) * columns;
  };
  while (threads > 1 && sizes.columns > 128 && num_tiles() < 2 * threads) {
    sizes.columns /= 2;
    sizes.rows = std::max<int64_t>(sizes.rows / 2, 64);
  }
  return sizes;
}

}  // namespace

void RunLinear(CpuKernels& kernels, LinearOp op, bool accumulate,
               const LinearTensors& tensors) {
  if (kernels.matmul() == nullptr) return;
  const bool empty_sums =
      (op == LinearOp::kForward && tensors.x_RI.dim(1) == 0) ||
      (op == LinearOp::kInputGradient && tensors.y_RO.dim(1) == 0);
  if (empty_sums) {
    const bool forward = op == LinearOp::kForward;
    if (!accumulate) kernels.SetZero(forward ? tensors.y_RO : tensors.x_RI);
    return;
  }
  TilePlan plan(*kernels.matmul(), op, accumulate, tensors,
                ChooseSizes(kernels.threads(), op, tensors));
  const absl::Span<const int64_t> offsets = tensors.offsets;
  for (size_t expert = 0; expert + 1 < offsets.size(); ++expert) {
    const Range rows{offsets[expert], offsets[expert + 1] - offsets[expert]};
    CHECK(rows.size >= 0);
    if (rows.size == 0) continue;
    const absl::Status added =
        plan.AddExpert(static_cast<int64_t>(expert), rows);
    if (!added.ok()) return kernels.SetError(added);
  }
  ExecutePlan(kernels, plan);
}

}  // namespace moe::cpu

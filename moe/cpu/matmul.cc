#include "moe/cpu/matmul.h"

#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "comm/base/check.h"
#include "comm/base/round_up.h"
#include "comm/base/status_macros.h"
#include "moe/cpu/vector.h"

namespace moe::cpu {
namespace {

using dnnl::memory;

memory::data_type LibraryType(DType dtype) {
  return dtype == DType::kBFloat16 ? memory::data_type::bf16
                                   : memory::data_type::f32;
}

// The library's names of a product: destination = source weights.
struct Descriptors {
  memory::desc source;
  memory::desc weights;
  memory::desc destination;
};

// `rows` may be DNNL_RUNTIME_DIM_VAL.
Descriptors Describe(const MatMulClass& shape, int64_t rows) {
  const memory::data_type in = LibraryType(shape.in);
  const memory::data_type out = LibraryType(shape.out);
  const int64_t O = shape.outputs;
  const int64_t I = shape.inputs;
  switch (shape.op) {
    case LinearOp::kForward:
      return {.source = {{rows, I}, in, {shape.x_pitch, 1}},
              .weights = {{I, O}, in, {1, shape.w_pitch}},
              .destination = {{rows, O}, out, {shape.y_pitch, 1}}};
    case LinearOp::kInputGradient:
      return {.source = {{rows, O}, in, {shape.y_pitch, 1}},
              .weights = {{O, I}, in, {shape.w_pitch, 1}},
              .destination = {{rows, I}, out, {shape.x_pitch, 1}}};
    case LinearOp::kWeightGradient:
      break;
  }
  return {.source = {{O, rows}, in, {1, shape.y_pitch}},
          .weights = {{rows, I}, in, {shape.x_pitch, 1}},
          .destination = {{O, I}, out, {shape.w_pitch, 1}}};
}

struct Handles {
  void* source;
  void* weights;
  void* destination;
};

Handles InLibraryOrder(LinearOp op, const MatMulOperands& operands) {
  switch (op) {
    case LinearOp::kForward:
      return {operands.x, operands.w, operands.y};
    case LinearOp::kInputGradient:
      return {operands.y, operands.w, operands.x};
    case LinearOp::kWeightGradient:
      break;
  }
  return {operands.y, operands.x, operands.w};
}

constexpr int64_t kAlign = 64;

int64_t Aligned(int64_t bytes) { return RoundUp(bytes, kAlign); }

// A matrix of the product whose elements are converted.
struct Block {
  void* data;
  int64_t rows;
  int64_t columns;
  int64_t pitch;
  bool is_result;
};

// To a dense block of float32, or back from it.
void ToFloatBlock(float* dense, const Block& block) {
  const BFloat16* data = static_cast<const BFloat16*>(block.data);
  for (int64_t r = 0; r < block.rows; ++r) {
    ForEachVector(block.columns, [&](int64_t i, int64_t lanes) {
      Store(dense + r * block.columns + i,
            Load(data + r * block.pitch + i, lanes), lanes);
    });
  }
}

void FromFloatBlock(const Block& block, const float* dense) {
  BFloat16* data = static_cast<BFloat16*>(block.data);
  for (int64_t r = 0; r < block.rows; ++r) {
    ForEachVector(block.columns, [&](int64_t i, int64_t lanes) {
      Store(data + r * block.pitch + i,
            Load(dense + r * block.columns + i, lanes), lanes);
    });
  }
}

// The product of the same shape whose converted matrices are dense.
MatMulClass FloatClass(MatMulClass shape) {
  const bool keep_result = shape.out == DType::kFloat32;
  if (!keep_result || shape.op != LinearOp::kForward)
    shape.y_pitch = shape.outputs;
  if (!keep_result || shape.op != LinearOp::kInputGradient)
    shape.x_pitch = shape.inputs;
  if (!keep_result || shape.op != LinearOp::kWeightGradient)
    shape.w_pitch = shape.inputs;
  shape.in = DType::kFloat32;
  shape.out = DType::kFloat32;
  return shape;
}

bool IsNaive(const std::string& implementation) {
  return implementation.empty() || absl::StartsWith(implementation, "ref");
}

}  // namespace

absl::StatusOr<std::unique_ptr<const MatMul>> MatMul::Create(
    const dnnl::engine& engine, const MatMulClass& shape) {
  std::unique_ptr<MatMul> product(new MatMul(engine, shape));
  std::string error;
  try {
    product->MakePrimitive();
  } catch (const dnnl::error& e) {
    error = e.what();
  }
  if (!IsNaive(product->implementation_)) return product;
  if (shape.in != DType::kBFloat16) {
    return absl::InternalError(absl::StrCat(
        "oneDNN offers no fast float32 product for ", shape.outputs,
        " outputs and ", shape.inputs,
        " inputs: ", error.empty() ? product->implementation_ : error));
  }
  ASSIGN_OR_RETURN(product->float_product_, Create(engine, FloatClass(shape)));
  product->implementation_ =
      absl::StrCat("float32:", product->float_product_->implementation());
  return product;
}

void MatMul::MakePrimitive() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (shape_.accumulate) {
    dnnl::post_ops add;
    add.append_sum(1.0f);
    attributes.set_post_ops(add);
  }
  const Descriptors d = Describe(shape_, shape_.rows == MatMulClass::kAnyRows
                                             ? DNNL_RUNTIME_DIM_VAL
                                             : shape_.rows);
  const dnnl::matmul::primitive_desc description(
      dnnl::matmul::desc(d.source, d.weights, d.destination), attributes,
      engine_);
  primitive_ = dnnl::matmul(description);
  scratchpad_ = description.scratchpad_desc();
  implementation_ = description.impl_info_str();
}

int64_t MatMul::ScratchBytes(int64_t max_rows) const {
  if (float_product_ == nullptr)
    return Aligned(static_cast<int64_t>(scratchpad_.get_size()));
  const int64_t O = shape_.outputs;
  const int64_t I = shape_.inputs;
  const int64_t floats = max_rows * I + O * I + max_rows * O;
  return Aligned(floats * SizeOf(DType::kFloat32)) + 3 * kAlign +
         float_product_->ScratchBytes(max_rows);
}

bool MatMul::Execute(const MatMulOperands& operands, int64_t rows,
                     const MatMulWorker& worker) const {
  CHECK(shape_.rows == MatMulClass::kAnyRows || shape_.rows == rows);
  return float_product_ == nullptr ? ExecutePrimitive(operands, rows, worker)
                                   : ExecuteConverted(operands, rows, worker);
}

bool MatMul::ExecutePrimitive(const MatMulOperands& operands, int64_t rows,
                              const MatMulWorker& worker) const {
  const Handles handles = InLibraryOrder(shape_.op, operands);
  try {
    const Descriptors d = Describe(shape_, rows);
    const memory source(d.source, engine_, handles.source);
    const memory weights(d.weights, engine_, handles.weights);
    const memory destination(d.destination, engine_, handles.destination);
    const memory scratchpad(scratchpad_, engine_, worker.scratch);
    // The C function: its C++ twin builds a hash map at every call.
    const std::array<dnnl_exec_arg_t, 4> arguments = {
        {{DNNL_ARG_SRC, source.get()},
         {DNNL_ARG_WEIGHTS, weights.get()},
         {DNNL_ARG_DST, destination.get()},
         {DNNL_ARG_SCRATCHPAD, scratchpad.get()}}};
    return dnnl_primitive_execute(primitive_.get(), worker.stream,
                                  static_cast<int>(arguments.size()),
                                  arguments.data()) == dnnl_success;
  } catch (const dnnl::error&) {
    return false;
  }
}

bool MatMul::ExecuteConverted(const MatMulOperands& operands, int64_t rows,
                              const MatMulWorker& worker) const {
  const int64_t O = shape_.outputs;
  const int64_t I = shape_.inputs;
  const std::array<Block, 3> blocks = {
      {{operands.x, rows, I, shape_.x_pitch,
        shape_.op == LinearOp::kInputGradient},
       {operands.w, O, I, shape_.w_pitch,
        shape_.op == LinearOp::kWeightGradient},
       {operands.y, rows, O, shape_.y_pitch, shape_.op == LinearOp::kForward}}};
  std::array<void*, 3> converted;
  std::byte* free = worker.scratch;
  for (size_t i = 0; i < blocks.size(); ++i) {
    const Block& block = blocks[i];
    converted[i] = block.data;
    if (block.is_result && shape_.out == DType::kFloat32) continue;
    float* dense = reinterpret_cast<float*>(free);
    converted[i] = dense;
    free += Aligned(block.rows * block.columns * SizeOf(DType::kFloat32));
    if (!block.is_result || shape_.accumulate) ToFloatBlock(dense, block);
  }
  if (!float_product_->Execute({converted[0], converted[1], converted[2]}, rows,
                               {worker.stream, free}))
    return false;
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (blocks[i].is_result && shape_.out != DType::kFloat32)
      FromFloatBlock(blocks[i], static_cast<const float*>(converted[i]));
  }
  return true;
}

absl::StatusOr<std::unique_ptr<MatMulEngine>> MatMulEngine::Create(
    int threads) {
  std::unique_ptr<MatMulEngine> engine(new MatMulEngine);
  try {
    engine->engine_ = dnnl::engine(dnnl::engine::kind::cpu, 0);
    for (int i = 0; i < threads; ++i)
      engine->streams_.emplace_back(engine->engine_);
  } catch (const dnnl::error& e) {
    return absl::InternalError(absl::StrCat("oneDNN: ", e.what()));
  }
  return engine;
}

absl::StatusOr<const MatMul*> MatMulEngine::Get(const MatMulClass& shape) {
  const auto found = products_.find(shape);
  if (found != products_.end()) return found->second.get();
  ASSIGN_OR_RETURN(std::unique_ptr<const MatMul> product,
                   MatMul::Create(engine_, shape));
  return products_.emplace(shape, std::move(product)).first->second.get();
}

std::vector<std::string> MatMulEngine::Implementations() const {
  std::set<std::string> names;
  for (const auto& [shape, product] : products_)
    names.insert(product->implementation());
  return {names.begin(), names.end()};
}

}  // namespace moe::cpu

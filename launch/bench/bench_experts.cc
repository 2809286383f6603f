#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "comm/base/status_macros.h"
#include "launch/bench/bench_kernels.h"
#include "launch/bench/bench_tensors.h"
#include "launch/bench/row_spread.h"
#include "trainer/config/config_resolve.h"

// Letters: R rows, E experts, I inputs, O outputs.

namespace moe {
namespace {

// A linear map of the experts, and one dense map of the size of an expert's.
struct Product {
  std::string name = {};
  Tensor x_RI = {};
  Tensor y_RO = {};
  Tensor w_EOI = {};
  Tensor d_w_EOI = {};
  Tensor dense_w_OI = {};
  Tensor dense_d_w_OI = {};

  double flops() const {
    return 2.0 * static_cast<double>(x_RI.size() * y_RO.dim(1));
  }
};

absl::StatusOr<Product> MakeProduct(BenchTensors& tensors,
                                    const BenchOptions& options,
                                    const std::string& name, int64_t I,
                                    int64_t O) {
  const ModelConfig& model = options.config.model();
  const int64_t E = model.num_local_experts();
  const int64_t R =
      MicroBatchTokens(options.config) * model.num_experts_per_tok();
  const DType f32 = DType::kFloat32;
  Product product{.name = name};
  ASSIGN_OR_RETURN(product.x_RI, tensors.Make({R, I}));
  ASSIGN_OR_RETURN(product.y_RO, tensors.Make({R, O}));
  ASSIGN_OR_RETURN(product.w_EOI, tensors.Make({E, O, I}));
  ASSIGN_OR_RETURN(product.d_w_EOI, tensors.Make({E, O, I}, f32));
  ASSIGN_OR_RETURN(product.dense_w_OI, tensors.Make({O, I}));
  ASSIGN_OR_RETURN(product.dense_d_w_OI, tensors.Make({O, I}, f32));
  return product;
}

struct Direction {
  const char* name;
  void (*grouped)(Kernels& kernels, const Product& product,
                  absl::Span<const int64_t> offsets);
  void (*dense)(Kernels& kernels, const Product& product);
};

constexpr Direction kDirections[] = {
    {"forward",
     [](Kernels& kernels, const Product& p, absl::Span<const int64_t> offsets) {
       kernels.GroupedLinearForward(p.y_RO, p.x_RI, p.w_EOI, offsets);
     },
     [](Kernels& kernels, const Product& p) {
       kernels.LinearForward(p.y_RO, p.x_RI, p.dense_w_OI,
                             /*accumulate=*/false);
     }},
    {"input gradient",
     [](Kernels& kernels, const Product& p, absl::Span<const int64_t> offsets) {
       kernels.GroupedLinearInputGradient(p.x_RI, p.y_RO, p.w_EOI, offsets);
     },
     [](Kernels& kernels, const Product& p) {
       kernels.LinearInputGradient(p.x_RI, p.y_RO, p.dense_w_OI,
                                   /*accumulate=*/false);
     }},
    {"weight gradient",
     [](Kernels& kernels, const Product& p, absl::Span<const int64_t> offsets) {
       kernels.GroupedLinearWeightGradient(p.d_w_EOI, p.y_RO, p.x_RI, offsets);
     },
     [](Kernels& kernels, const Product& p) {
       kernels.LinearWeightGradient(p.dense_d_w_OI, p.y_RO, p.x_RI);
     }}};

void AddFigures(BenchResult& result, double dense_seconds) {
  const double speed = dense_seconds / result.seconds;
  result.figures = {
      {"dense_seconds", dense_seconds, ""},
      {"speed_over_dense", speed,
       absl::StrFormat("%.3f of one dense product's speed", speed)}};
}

// Each product, then what all of them take together.
void BenchSpread(Kernels& kernels, const BenchOptions& options,
                 const std::vector<Product>& products, const RowSpread& spread,
                 const Direction& direction) {
  const int64_t E = products[0].w_EOI.dim(0);
  const int64_t R = products[0].x_RI.dim(0);
  const std::vector<int64_t> offsets = SpreadRows(R, E, spread);
  const std::string suffix =
      absl::StrCat(" ", direction.name, ", ", spread.name);
  BenchResult all{.part = "experts",
                  .name = absl::StrCat("all", suffix),
                  .shape = {{"experts", E}, {"rows", R}},
                  .peak_flops = options.peak_flops};
  double all_dense_seconds = 0;
  for (const Product& product : products) {
    BenchResult result = all;
    result.name = absl::StrCat(product.name, suffix);
    result.shape.push_back({"inputs", product.x_RI.dim(1)});
    result.shape.push_back({"outputs", product.y_RO.dim(1)});
    result.flops = product.flops();
    const double dense_seconds = MeasureInTurns(
        result, options.seconds,
        UntilDone(kernels,
                  [&] { direction.grouped(kernels, product, offsets); }),
        UntilDone(kernels, [&] { direction.dense(kernels, product); }));
    AddFigures(result, dense_seconds);
    options.report(result);
    all.seconds += result.seconds;
    all.runs = result.runs;
    all.flops += result.flops;
    all_dense_seconds += dense_seconds;
  }
  AddFigures(all, all_dense_seconds);
  options.report(all);
}

}  // namespace

absl::Status BenchExperts(Kernels& kernels, const BenchOptions& options) {
  const ModelConfig& model = options.config.model();
  const int64_t width = model.hidden_size();
  const int64_t hidden = model.intermediate_size();
  BenchTensors tensors(kernels, ComputeDType(options.config));
  std::vector<Product> products(2);
  ASSIGN_OR_RETURN(products[0], MakeProduct(tensors, options, "gate and up",
                                            width, 2 * hidden));
  ASSIGN_OR_RETURN(products[1],
                   MakeProduct(tensors, options, "down", hidden, width));
  for (const RowSpread& spread : kRowSpreads) {
    for (const Direction& direction : kDirections)
      BenchSpread(kernels, options, products, spread, direction);
  }
  return kernels.status();
}

}  // namespace moe

#include <cmath>
#include <vector>

#include "tests/moe/kernel_test_util.h"

// Letters: R rows, F expert hidden width; gate_up[r] = [gate | up].

namespace moe {
namespace {

std::vector<double> Reference(const std::vector<double>& gate_up,
                              const std::vector<double>& weight, int64_t F) {
  std::vector<double> h(gate_up.size() / 2);
  for (size_t i = 0; i < h.size(); ++i) {
    const size_t row = i / static_cast<size_t>(F);
    const double g = gate_up[i + row * static_cast<size_t>(F)];
    const double u = gate_up[i + (row + 1) * static_cast<size_t>(F)];
    h[i] = weight[row] * g / (1 + std::exp(-g)) * u;
  }
  return h;
}

class SwiGluKernel : public KernelTest {};

TEST_P(SwiGluKernel, ForwardIsWeightTimesSiluOfGateTimesUp) {
  for (auto [R, F] :
       {std::pair<int64_t, int64_t>{1, 1}, {7, 33}, {33, 64}, {2, 1003}}) {
    const TestTensor gate_up = RandomTensor({R, 2 * F}, GetParam(), 1, 3);
    const TestTensor weight = RandomTensor({R}, DType::kFloat32, 2);
    TestTensor h({R, F}, GetParam());
    context().SwiGluForward(h, gate_up, weight);
    ExpectRounded(h, Reference(gate_up.Values(), weight.Values(), F), "h");
  }
}

TEST_P(SwiGluKernel, ANullWeightIsOne) {
  const TestTensor gate_up = RandomTensor({3, 14}, GetParam(), 1);
  const TestTensor d_h = RandomTensor({3, 7}, GetParam(), 2);
  TestTensor ones({3}, DType::kFloat32);
  ones.Fill(1);
  TestTensor h({3, 7}, GetParam()), h_null({3, 7}, GetParam());
  TestTensor d({3, 14}, GetParam()), d_null({3, 14}, GetParam());
  TestTensor again({3, 7}, GetParam());
  context().SwiGluForward(h, gate_up, ones);
  context().SwiGluForward(h_null, gate_up, Tensor());
  context().SwiGluBackward(d, Tensor(), again, d_h, gate_up, ones);
  EXPECT_EQ(h.Values(), again.Values());
  context().SwiGluBackward(d_null, Tensor(), again, d_h, gate_up, Tensor());
  EXPECT_EQ(h.Values(), again.Values());
  EXPECT_EQ(h.Values(), h_null.Values());
  EXPECT_EQ(d.Values(), d_null.Values());
}

TEST_P(SwiGluKernel, BackwardIsTheDerivativeOfTheForward) {
  for (auto [R, F] :
       {std::pair<int64_t, int64_t>{1, 1}, {7, 33}, {3, 16}, {1, 100}}) {
    const TestTensor gate_up = RandomTensor({R, 2 * F}, GetParam(), 1, 2);
    const TestTensor weight = RandomTensor({R}, DType::kFloat32, 2);
    const TestTensor d_h = RandomTensor({R, F}, GetParam(), 3);
    TestTensor d_gate_up({R, 2 * F}, GetParam());
    TestTensor d_weight({R}, DType::kFloat32);
    TestTensor h({R, F}, GetParam()), again({R, F}, GetParam());
    d_gate_up.Fill(5);  // overwritten
    d_weight.Fill(5);
    again.Fill(5);
    context().SwiGluBackward(d_gate_up, d_weight, again, d_h, gate_up, weight);
    context().SwiGluForward(h, gate_up, weight);
    EXPECT_EQ(again.Values(), h.Values());

    const std::vector<double> cotangent = d_h.Values();
    const int64_t width = F;
    const auto of_gate_up = [&](const std::vector<double>& values) {
      return Dot(Reference(values, weight.Values(), width), cotangent);
    };
    const auto of_weight = [&](const std::vector<double>& values) {
      return Dot(Reference(gate_up.Values(), values, width), cotangent);
    };
    ExpectRounded(d_gate_up, Gradient(of_gate_up, gate_up.Values()),
                  "d_gate_up");
    ExpectRounded(d_weight, Gradient(of_weight, weight.Values()), "d_weight");
  }
}

TEST_P(SwiGluKernel, BackwardMayOverwriteItsInputs) {
  TestTensor gate_up = RandomTensor({9, 66}, GetParam(), 1);
  const TestTensor weight = RandomTensor({9}, DType::kFloat32, 2);
  TestTensor d_h = RandomTensor({9, 33}, GetParam(), 3);
  TestTensor apart({9, 66}, GetParam()), h_apart({9, 33}, GetParam());
  TestTensor d_weight({9}, DType::kFloat32),
      d_weight_in_place = RandomTensor({9}, DType::kFloat32, 4);
  context().SwiGluBackward(apart, d_weight, h_apart, d_h, gate_up, weight);
  context().SwiGluBackward(gate_up, d_weight_in_place, d_h, d_h, gate_up,
                           weight);
  EXPECT_EQ(d_h.Values(), h_apart.Values());
  EXPECT_EQ(gate_up.Values(), apart.Values());
  EXPECT_EQ(d_weight.Values(), d_weight_in_place.Values());
}

TEST_P(SwiGluKernel, LargeGatesSaturateWithoutOverflow) {
  TestTensor gate_up({1, 8}, GetParam());
  const double gates[] = {-1e30, -200, 200, 1e30};
  for (int64_t i = 0; i < 4; ++i) {
    gate_up.Set(i, gates[i]);
    gate_up.Set(4 + i, 1);
  }
  TestTensor h({1, 4}, GetParam()), d({1, 8}, GetParam());
  TestTensor d_h({1, 4}, GetParam()), again({1, 4}, GetParam());
  d_h.Fill(1);
  context().SwiGluForward(h, gate_up, Tensor());
  context().SwiGluBackward(d, Tensor(), again, d_h, gate_up, Tensor());
  EXPECT_EQ(again.Values(), h.Values());
  EXPECT_EQ(h.Get(0), 0);
  EXPECT_EQ(h.Get(1), 0);
  EXPECT_EQ(h.Get(2), 200);
  EXPECT_EQ(h.Get(3), gate_up.Get(3));
  EXPECT_EQ(d.Get(0), 0);
  EXPECT_EQ(d.Get(3), 1);
}

TEST_P(SwiGluKernel, NotANumberReachesTheResult) {
  TestTensor gate_up = RandomTensor({1, 40}, GetParam(), 1);
  gate_up.Set(3, std::nan(""));
  TestTensor h({1, 20}, GetParam());
  context().SwiGluForward(h, gate_up, Tensor());
  EXPECT_TRUE(std::isnan(h.Get(3)));
}

TEST_P(SwiGluKernel, NoRowsAreAnOrdinaryCase) {
  TestTensor gate_up({0, 8}, GetParam()), h({0, 4}, GetParam());
  TestTensor weight({0}, DType::kFloat32);
  context().SwiGluForward(h, gate_up, weight);
  context().SwiGluBackward(gate_up, weight, h, h, gate_up, weight);
}

INSTANTIATE_BOTH_DTYPES(SwiGluKernel);

}  // namespace
}  // namespace moe

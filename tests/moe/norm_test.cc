#include <cmath>
#include <vector>

#include "tests/moe/kernel_test_util.h"

// Letters: T tokens, D model width.

namespace moe {
namespace {

constexpr float kEpsilon = 1e-5f;

std::vector<double> Reference(const std::vector<double>& x,
                              const std::vector<double>& w,
                              std::vector<double>* inverse_rms) {
  const size_t D = w.size();
  std::vector<double> y(x.size());
  for (size_t row = 0; row < x.size(); row += D) {
    double squares = 0;
    for (size_t i = 0; i < D; ++i) squares += x[row + i] * x[row + i];
    const double r =
        1 / std::sqrt(squares / static_cast<double>(D) + double{kEpsilon});
    for (size_t i = 0; i < D; ++i) y[row + i] = x[row + i] * r * w[i];
    if (inverse_rms != nullptr) inverse_rms->push_back(r);
  }
  return y;
}

std::vector<double> Plus(std::vector<double> a, double b) {
  for (double& element : a) element += b;
  return a;
}

// GetParam(): the dtype of y; x and w are float32.
class NormKernel : public KernelTest {};

TEST_P(NormKernel, ForwardDividesByTheRootMeanSquare) {
  for (auto [T, D] : {std::pair<int64_t, int64_t>{1, 1},
                      {7, 33},
                      {33, 512},
                      {5, 1000},
                      {1, 7}}) {
    const TestTensor x = RandomTensor({T, D}, DType::kFloat32, 1, 3);
    const TestTensor w = RandomTensor({D}, DType::kFloat32, 2);
    TestTensor y({T, D}, GetParam());
    TestTensor inverse_rms({T}, DType::kFloat32);
    context().RmsNormForward(y, inverse_rms, x, w, kEpsilon);
    std::vector<double> expected_r;
    ExpectRounded(y, Reference(x.Values(), w.Values(), &expected_r), "y");
    ExpectRounded(inverse_rms, expected_r, "inverse_rms");
  }
}

TEST_P(NormKernel, BackwardAddsTheDerivativeOfTheForward) {
  for (auto [T, D] :
       {std::pair<int64_t, int64_t>{1, 1}, {7, 33}, {33, 9}, {3, 64}}) {
    const TestTensor x = RandomTensor({T, D}, DType::kFloat32, 1, 3);
    const TestTensor w = RandomTensor({D}, DType::kFloat32, 2);
    const TestTensor d_y = RandomTensor({T, D}, GetParam(), 3);
    TestTensor y({T, D}, GetParam());
    TestTensor inverse_rms({T}, DType::kFloat32);
    context().RmsNormForward(y, inverse_rms, x, w, kEpsilon);
    TestTensor d_x({T, D}, DType::kFloat32);
    TestTensor d_w({D}, DType::kFloat32);
    d_x.Fill(1);  // gradients already there
    d_w.Fill(2);
    context().RmsNormBackward(d_x, d_w, d_y, x, w, inverse_rms);

    const std::vector<double> cotangent = d_y.Values();
    const auto of_x = [&](const std::vector<double>& values) {
      return Dot(Reference(values, w.Values(), nullptr), cotangent);
    };
    const auto of_w = [&](const std::vector<double>& values) {
      return Dot(Reference(x.Values(), values, nullptr), cotangent);
    };
    ExpectRounded(d_x, Plus(Gradient(of_x, x.Values()), 1), "d_x");
    ExpectRounded(d_w, Plus(Gradient(of_w, w.Values()), 2), "d_w");
  }
}

TEST_P(NormKernel, NoTokensAddNothing) {
  const TestTensor w = RandomTensor({5}, DType::kFloat32, 2);
  TestTensor empty_x({0, 5}, DType::kFloat32);
  TestTensor empty_y({0, 5}, GetParam());
  TestTensor empty_r({0}, DType::kFloat32);
  TestTensor d_w({5}, DType::kFloat32);
  d_w.Fill(7);
  context().RmsNormForward(empty_y, empty_r, empty_x, w, kEpsilon);
  context().RmsNormBackward(empty_x, d_w, empty_y, empty_x, w, empty_r);
  EXPECT_EQ(d_w.Values(), std::vector<double>(5, 7.0));
}

TEST_P(NormKernel, WithoutAWeightGradientTheInputsIsTheSame) {
  const TestTensor x = RandomTensor({33, 7}, DType::kFloat32, 1);
  const TestTensor w = RandomTensor({7}, DType::kFloat32, 2);
  const TestTensor d_y = RandomTensor({33, 7}, GetParam(), 3);
  TestTensor y({33, 7}, GetParam());
  TestTensor inverse_rms({33}, DType::kFloat32);
  context().RmsNormForward(y, inverse_rms, x, w, kEpsilon);
  TestTensor d_w({7}, DType::kFloat32);
  TestTensor with({33, 7}, DType::kFloat32);
  TestTensor without({33, 7}, DType::kFloat32);
  context().RmsNormBackward(with, d_w, d_y, x, w, inverse_rms);
  context().RmsNormBackward(without, Tensor(), d_y, x, w, inverse_rms);
  EXPECT_EQ(without.Values(), with.Values());
}

TEST_P(NormKernel, AZeroRowStaysFinite) {
  TestTensor x({1, 4}, DType::kFloat32);
  const TestTensor w = RandomTensor({4}, DType::kFloat32, 2);
  TestTensor y({1, 4}, GetParam());
  TestTensor inverse_rms({1}, DType::kFloat32);
  context().RmsNormForward(y, inverse_rms, x, w, kEpsilon);
  EXPECT_EQ(y.Values(), std::vector<double>(4, 0.0));
  EXPECT_NEAR(inverse_rms.Get(0), 1 / std::sqrt(double{kEpsilon}), 1e-3);
}

TEST_P(NormKernel, TheWeightGradientRepeatsBitForBit) {
  const TestTensor x = RandomTensor({257, 70}, DType::kFloat32, 1);
  const TestTensor w = RandomTensor({70}, DType::kFloat32, 2);
  const TestTensor d_y = RandomTensor({257, 70}, GetParam(), 3);
  TestTensor y({257, 70}, GetParam());
  TestTensor inverse_rms({257}, DType::kFloat32);
  context().RmsNormForward(y, inverse_rms, x, w, kEpsilon);
  std::vector<std::vector<double>> results;
  for (int repeat = 0; repeat < 5; ++repeat) {
    TestTensor d_x({257, 70}, DType::kFloat32);
    TestTensor d_w({70}, DType::kFloat32);
    context().RmsNormBackward(d_x, d_w, d_y, x, w, inverse_rms);
    results.push_back(d_w.Values());
    EXPECT_EQ(results.back(), results.front());
  }
}

INSTANTIATE_BOTH_DTYPES(NormKernel);

}  // namespace
}  // namespace moe

#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/moe/kernel_test_util.h"

namespace moe {
namespace {

// One element after another, in double, in the order of torch.optim.AdamW.
struct ReferenceAdamW {
  std::vector<double> weights;
  std::vector<double> m = std::vector<double>(weights.size());
  std::vector<double> v = std::vector<double>(weights.size());

  void Update(const std::vector<double>& gradient, const AdamWOptions& o) {
    const double rate = o.learning_rate;
    const double u = static_cast<double>(o.update);
    for (size_t i = 0; i < weights.size(); ++i) {
      const double g = gradient[i] * o.gradient_scale;
      weights[i] -= rate * o.weight_decay * weights[i];
      m[i] = o.beta1 * m[i] + (1 - double{o.beta1}) * g;
      v[i] = o.beta2 * v[i] + (1 - double{o.beta2}) * g * g;
      const double m_hat = m[i] / (1 - std::pow(double{o.beta1}, u));
      const double v_hat = v[i] / (1 - std::pow(double{o.beta2}, u));
      weights[i] -= rate * m_hat / (std::sqrt(v_hat) + o.epsilon);
    }
  }
};

constexpr AdamWOptions kOptions = {.learning_rate = 1e-2f,
                                   .beta1 = 0.9f,
                                   .beta2 = 0.95f,
                                   .epsilon = 1e-8f,
                                   .weight_decay = 0.1f,
                                   .gradient_scale = 0.5f};

TEST(AdamW, FollowsTheReferenceOverManyUpdates) {
  const std::unique_ptr<Kernels> context = MakeCpuKernels(2);
  for (int64_t n : {0, 1, 7, 33, 40000}) {
    const std::string what = absl::StrCat(n, " elements");
    TestTensor w = RandomTensor({n}, DType::kFloat32, 1);
    TestTensor m({n}, DType::kFloat32);
    TestTensor v({n}, DType::kFloat32);
    TestTensor copy({n}, DType::kBFloat16);
    ReferenceAdamW reference{.weights = w.Values()};
    AdamWOptions options = kOptions;
    for (options.update = 1; options.update <= 10; ++options.update) {
      options.learning_rate = 1e-2f / static_cast<float>(options.update);
      const TestTensor gradient =
          RandomTensor({n}, DType::kFloat32,
                       static_cast<uint64_t>(100 + options.update), 0.1f);
      context->AdamW(w, m, v, copy, gradient, options);
      reference.Update(gradient.Values(), options);
    }
    ExpectNear(m, reference.m, 1e-6, 1e-6, what);
    ExpectNear(v, reference.v, 1e-6, 1e-6, what);
    ExpectNear(w, reference.weights, 1e-6, 1e-6, what);
    TestTensor rounded({n}, DType::kBFloat16);
    for (int64_t i = 0; i < n; ++i) rounded.Set(i, w.Get(i));
    for (int64_t i = 0; i < n; ++i) ASSERT_EQ(copy.Get(i), rounded.Get(i));
  }
}

TEST(AdamW, WorksWithoutACopy) {
  const std::unique_ptr<Kernels> context = MakeCpuKernels(1);
  const TestTensor gradient = RandomTensor({33}, DType::kFloat32, 2);
  TestTensor w[2] = {RandomTensor({33}, DType::kFloat32, 1),
                     RandomTensor({33}, DType::kFloat32, 1)};
  TestTensor copy({33}, DType::kBFloat16);
  for (int with_copy : {0, 1}) {
    TestTensor m({33}, DType::kFloat32);
    TestTensor v({33}, DType::kFloat32);
    context->AdamW(w[with_copy], m, v, with_copy == 1 ? copy.view() : Tensor(),
                   gradient, kOptions);
  }
  for (int64_t i = 0; i < 33; ++i) ASSERT_EQ(w[0].Get(i), w[1].Get(i));
}

// m' / sqrt(v') is the gradient's sign at update 1, so the step is the rate.
TEST(AdamW, FirstUpdateMovesEachWeightByTheLearningRate) {
  const std::unique_ptr<Kernels> context = MakeCpuKernels(1);
  TestTensor w({9}, DType::kFloat32);
  TestTensor m({9}, DType::kFloat32);
  TestTensor v({9}, DType::kFloat32);
  TestTensor gradient({9}, DType::kFloat32);
  for (int64_t i = 0; i < 9; ++i) gradient.Set(i, i % 2 == 0 ? 3e-3 : -7.0);
  AdamWOptions options = kOptions;
  options.weight_decay = 0;
  context->AdamW(w, m, v, Tensor(), gradient, options);
  for (int64_t i = 0; i < 9; ++i) {
    const double expected =
        (i % 2 == 0 ? -1 : 1) * double{kOptions.learning_rate};
    EXPECT_NEAR(w.Get(i), expected, 1e-5 * kOptions.learning_rate);
  }
}

TEST(AdamW, DecayActsOnWeightsWithoutGradient) {
  const std::unique_ptr<Kernels> context = MakeCpuKernels(1);
  TestTensor w({9}, DType::kFloat32);
  w.Fill(2);
  TestTensor m({9}, DType::kFloat32);
  TestTensor v({9}, DType::kFloat32);
  const TestTensor gradient({9}, DType::kFloat32);
  context->AdamW(w, m, v, Tensor(), gradient, kOptions);
  for (int64_t i = 0; i < 9; ++i) EXPECT_NEAR(w.Get(i), 2 * (1 - 1e-3), 1e-6);
}

// Ranks cut the same parameters at other places: no bit may depend on that.
TEST(AdamW, AnElementDoesNotDependOnWhereItsShardBegins) {
  const std::unique_ptr<Kernels> context = MakeCpuKernels(2);
  constexpr int64_t n = 101;
  const TestTensor gradient = RandomTensor({n}, DType::kFloat32, 2);
  TestTensor w[2] = {RandomTensor({n}, DType::kFloat32, 1),
                     RandomTensor({n}, DType::kFloat32, 1)};
  for (int cut : {0, 1}) {
    const TestTensor m = RandomTensor({n}, DType::kFloat32, 3);
    TestTensor v({n}, DType::kFloat32);
    v.Fill(0.3);
    const int64_t first = cut == 0 ? n : 37;
    for (const auto& [begin, count] :
         {std::pair<int64_t, int64_t>{0, first}, {first, n - first}}) {
      context->AdamW(w[cut].view().Rows(begin, count),
                     m.view().Rows(begin, count), v.view().Rows(begin, count),
                     Tensor(), gradient.view().Rows(begin, count), kOptions);
    }
  }
  for (int64_t i = 0; i < n; ++i) ASSERT_EQ(w[0].Get(i), w[1].Get(i)) << i;
}

}  // namespace
}  // namespace moe

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/moe/kernel_test_util.h"

// Letters: T tokens, V vocabulary.

namespace moe {
namespace {

struct Reference {
  double loss = 0;
  std::vector<double> gradient;  // of the loss
};

double LogSumExp(const double* z, int64_t V) {
  const double largest = *std::max_element(z, z + V);
  double sum = 0;
  for (int64_t v = 0; v < V; ++v) sum += std::exp(z[v] - largest);
  return largest + std::log(sum);
}

double Loss(const std::vector<double>& z, const TestTensor& targets,
            int64_t V) {
  double loss = 0;
  for (int64_t t = 0; t < targets.size(); ++t) {
    const double* z_t = z.data() + t * V;
    loss += LogSumExp(z_t, V) - z_t[static_cast<int64_t>(targets.Get(t))];
  }
  return loss;
}

Reference Compute(const TestTensor& logits, const TestTensor& targets,
                  int64_t V) {
  Reference reference;
  const std::vector<double> z = logits.Values();
  reference.loss = Loss(z, targets, V);
  for (int64_t t = 0; t < targets.size(); ++t) {
    const double* z_t = z.data() + t * V;
    const double log_sum = LogSumExp(z_t, V);
    for (int64_t v = 0; v < V; ++v) {
      const double target = v == static_cast<int64_t>(targets.Get(t)) ? 1 : 0;
      reference.gradient.push_back(std::exp(z_t[v] - log_sum) - target);
    }
  }
  return reference;
}

TestTensor Targets(int64_t T, int64_t V) {
  TestTensor targets({T}, DType::kInt32);
  for (int64_t t = 0; t < T; ++t)
    targets.Set(t, static_cast<double>((t * 7919 + V - 1) % V));
  return targets;
}

std::vector<double> Scaled(std::vector<double> values, double scale) {
  for (double& value : values) value *= scale;
  return values;
}

class CrossEntropyTest : public KernelTest {};  // the dtype of d_logits

struct Size {
  int64_t T;
  int64_t V;
};
const std::vector<Size> kSizes = {{0, 7},  {1, 1},   {1, 7},     {7, 8},
                                  {33, 9}, {7, 100}, {33, 1024}, {5, 8193}};

TEST_P(CrossEntropyTest, LossAndGradientAgreeWithTheFormula) {
  for (const auto& [T, V] : kSizes) {
    const std::string what = absl::StrCat(T, "x", V);
    const TestTensor logits = RandomTensor({T, V}, DType::kFloat32, 1, 3);
    const TestTensor targets = Targets(T, V);
    const Reference reference = Compute(logits, targets, V);
    TestTensor d_logits({T, V}, GetParam());
    d_logits.Fill(77);
    double loss = 100;
    CrossEntropy(context(), d_logits, &loss, logits, targets, 0.25f);
    EXPECT_NEAR(loss, 100 + reference.loss, 1e-6 * (100 + reference.loss))
        << what;
    ExpectRounded(d_logits, Scaled(reference.gradient, 0.25), what);
  }
}

TEST_P(CrossEntropyTest, WithoutAGradientTheLossIsTheSame) {
  const TestTensor logits = RandomTensor({33, 1000}, DType::kFloat32, 1, 3);
  const TestTensor targets = Targets(33, 1000);
  TestTensor d_logits({33, 1000}, GetParam());
  double with_gradient = 0;
  double without = 0;
  CrossEntropy(context(), d_logits, &with_gradient, logits, targets, 1);
  CrossEntropy(context(), Tensor(), &without, logits, targets, 1);
  EXPECT_EQ(with_gradient, without);
}

TEST_P(CrossEntropyTest, LargeLogitsNeitherOverflowNorVanish) {
  TestTensor logits({3, 4}, DType::kFloat32);
  const double values[] = {1e4,   1e4,  -1e4, 0,      // a tie at the top
                           -3e38, 3e38, 0,    1,      // the ends of float32
                           -500,  -501, -502, -1e9};  // all far below zero
  for (int64_t i = 0; i < 12; ++i) logits.Set(i, values[i]);
  const TestTensor targets = IndexTensor({3}, {0, 1, 2});
  const Reference reference = Compute(logits, targets, 4);
  TestTensor d_logits({3, 4}, GetParam());
  double loss = 0;
  CrossEntropy(context(), d_logits, &loss, logits, targets, 1);
  EXPECT_NEAR(loss, reference.loss, 1e-6);
  ExpectRounded(d_logits, reference.gradient, "large logits");
}

TEST_P(CrossEntropyTest, ANonFiniteLogitShowsInTheLoss) {
  for (double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    for (int64_t where : {0, 50, 99}) {
      TestTensor logits = RandomTensor({1, 100}, DType::kFloat32, 1);
      logits.Set(where, bad);
      TestTensor d_logits({1, 100}, GetParam());
      double loss = 0;
      CrossEntropy(context(), d_logits, &loss, logits, IndexTensor({1}, {7}),
                   1);
      EXPECT_FALSE(std::isfinite(loss)) << bad << " at " << where;
    }
  }
}

TEST(CrossEntropy, MayWriteTheGradientOverTheLogits) {
  const KernelContextPtr context = MakeKernelContext(2);
  const TestTensor logits = RandomTensor({33, 100}, DType::kFloat32, 1, 3);
  const TestTensor targets = Targets(33, 100);
  TestTensor apart({33, 100}, DType::kFloat32);
  const TestTensor in_place = RandomTensor({33, 100}, DType::kFloat32, 1, 3);
  double loss_apart = 0;
  double loss_in_place = 0;
  CrossEntropy(*context, apart, &loss_apart, logits, targets, 0.5f);
  CrossEntropy(*context, in_place, &loss_in_place, in_place, targets, 0.5f);
  EXPECT_EQ(loss_apart, loss_in_place);
  for (int64_t i = 0; i < apart.size(); ++i)
    ASSERT_EQ(apart.Get(i), in_place.Get(i));
}

TEST(CrossEntropy, GradientIsTheDerivativeOfTheLoss) {
  const KernelContextPtr context = MakeKernelContext(1);
  const TestTensor logits = RandomTensor({3, 7}, DType::kFloat32, 1);
  const TestTensor targets = Targets(3, 7);
  TestTensor d_logits({3, 7}, DType::kFloat32);
  double loss = 0;
  CrossEntropy(*context, d_logits, &loss, logits, targets, 1);
  const std::vector<double> derivative = Gradient(
      [&](const std::vector<double>& z) { return Loss(z, targets, 7); },
      logits.Values());
  ExpectRounded(d_logits, derivative, "finite differences");
}

TEST(CrossEntropy, LossIsTheSameToTheBitForAnyNumberOfThreads) {
  const TestTensor logits = RandomTensor({70, 300}, DType::kFloat32, 1, 3);
  const TestTensor targets = Targets(70, 300);
  const KernelContextPtr single = MakeKernelContext(1);
  double expected = 0;
  CrossEntropy(*single, Tensor(), &expected, logits, targets, 1);
  for (int threads : {2, 3, 16}) {
    const KernelContextPtr context = MakeKernelContext(threads);
    double loss = 0;
    CrossEntropy(*context, Tensor(), &loss, logits, targets, 1);
    EXPECT_EQ(loss, expected) << threads;
  }
}

INSTANTIATE_BOTH_DTYPES(CrossEntropyTest);

}  // namespace
}  // namespace moe

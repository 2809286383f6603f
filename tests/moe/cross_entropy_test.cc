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

// All steps, with the vocabulary in one slice: adds to *loss_sum and, unless
// d_logits is null, makes the gradient.
void CrossEntropy(Kernels& context, const Tensor& d_logits_TV, double* loss_sum,
                  const Tensor& logits_TV, const Tensor& targets_T,
                  float scale) {
  TestTensor statistics({logits_TV.dim(0), 3}, DType::kFloat32);
  context.LogitStatistics(statistics, logits_TV, targets_T, /*first_id=*/0);
  const TestTensor loss({1}, DType::kFloat64);
  *loss.view().data<double>() = *loss_sum;  // is added to
  context.CrossEntropyLoss(loss, statistics, targets_T);
  *loss_sum = loss.Get(0);
  if (d_logits_TV.is_null()) return;
  context.CrossEntropyGradient(d_logits_TV, logits_TV, statistics, targets_T,
                               /*first_id=*/0, scale);
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

// Columns [first, first + num) of a matrix.
TestTensor Columns(const TestTensor& x, int64_t first, int64_t num) {
  const int64_t rows = x.view().dim(0);
  const int64_t columns = x.view().dim(1);
  TestTensor part({rows, num}, DType::kFloat32);
  for (int64_t i = 0; i < rows * num; ++i)
    part.Set(i, x.Get(i / num * columns + first + i % num));
  return part;
}

TEST_P(CrossEntropyTest, SlicesOfTheVocabularyGiveTheWhole) {
  constexpr int64_t kT = 9, kV = 50;
  const std::vector<int64_t> cuts = {0, 17, 17, 31, 50};  // one is empty
  const int64_t num_slices = static_cast<int64_t>(cuts.size()) - 1;
  const TestTensor logits = RandomTensor({kT, kV}, DType::kFloat32, 1, 5);
  const TestTensor targets = Targets(kT, kV);
  const Reference reference = Compute(logits, targets, kV);
  TestTensor slices({num_slices * kT, 3}, DType::kFloat32);
  TestTensor statistics({kT, 3}, DType::kFloat32);
  for (int64_t p = 0; p < num_slices; ++p) {
    const int64_t first = cuts[static_cast<size_t>(p)];
    const int64_t num = cuts[static_cast<size_t>(p) + 1] - first;
    context().LogitStatistics(slices.view().Rows(p * kT, kT),
                              Columns(logits, first, num), targets, first);
  }
  context().MergeLogitStatistics(statistics,
                                 slices.view().Reshape({num_slices, kT, 3}));
  const TestTensor loss({1}, DType::kFloat64);
  context().CrossEntropyLoss(loss, statistics, targets);
  EXPECT_NEAR(loss.Get(0), reference.loss, 1e-6 * reference.loss);
  for (int64_t p = 0; p < num_slices; ++p) {
    const int64_t first = cuts[static_cast<size_t>(p)];
    const int64_t num = cuts[static_cast<size_t>(p) + 1] - first;
    TestTensor d_logits({kT, num}, GetParam());
    context().CrossEntropyGradient(d_logits, Columns(logits, first, num),
                                   statistics, targets, first, /*scale=*/1);
    std::vector<double> expected;
    for (int64_t i = 0; i < kT * num; ++i) {
      expected.push_back(
          reference
              .gradient[static_cast<size_t>(i / num * kV + first + i % num)]);
    }
    ExpectRounded(d_logits, expected, absl::StrCat("slice ", p));
  }
}

TEST_P(CrossEntropyTest, ATokenWithoutTargetHasNoLossAndNoGradient) {
  const TestTensor logits = RandomTensor({3, 20}, DType::kFloat32, 1, 3);
  const TestTensor targets = IndexTensor({3}, {7, -1, 19});
  const TestTensor others = IndexTensor({2}, {7, 19});
  TestTensor two({2, 20}, DType::kFloat32);
  for (int64_t i = 0; i < 20; ++i) {
    two.Set(i, logits.Get(i));
    two.Set(20 + i, logits.Get(40 + i));
  }
  TestTensor d_logits({3, 20}, GetParam());
  d_logits.Fill(5);  // overwritten
  double loss = 0;
  double expected = 0;
  CrossEntropy(context(), d_logits, &loss, logits, targets, 1);
  CrossEntropy(context(), Tensor(), &expected, two, others, 1);
  EXPECT_EQ(loss, expected);
  for (int64_t i = 20; i < 40; ++i) EXPECT_EQ(d_logits.Get(i), 0);
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
  const std::unique_ptr<Kernels> context = MakeCpuKernels(2);
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
  const std::unique_ptr<Kernels> context = MakeCpuKernels(1);
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
  const std::unique_ptr<Kernels> single = MakeCpuKernels(1);
  double expected = 0;
  CrossEntropy(*single, Tensor(), &expected, logits, targets, 1);
  for (int threads : {2, 3, 16}) {
    const std::unique_ptr<Kernels> context = MakeCpuKernels(threads);
    double loss = 0;
    CrossEntropy(*context, Tensor(), &loss, logits, targets, 1);
    EXPECT_EQ(loss, expected) << threads;
  }
}

INSTANTIATE_BOTH_DTYPES(CrossEntropyTest);

}  // namespace
}  // namespace moe

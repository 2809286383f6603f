#include <malloc.h>

#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "comm/base/buffer.h"
#include "tests/moe/linear_reference.h"

// Letters: T tokens, O outputs, I inputs.

namespace moe {
namespace {

struct Size {
  int64_t T;
  int64_t O;
  int64_t I;

  LinearPart Part() const { return {0, T, 0, O, I}; }
  std::string ToString() const { return absl::StrCat(T, "x", O, "x", I); }
};

// Nothing, one, odd, and several tiles with something left over.
const std::vector<Size> kSizes = {
    {0, 7, 33},   {1, 1, 1},     {1, 33, 7},     {7, 1, 33},    {33, 7, 1},
    {33, 33, 33}, {7, 0, 5},     {7, 33, 130},   {256, 16, 24}, {300, 7, 520},
    {70, 530, 9}, {1030, 33, 7}, {257, 1030, 17}};

class LinearTest : public KernelTest {
 protected:
  TestTensor X(const Size& size) {
    return RandomTensor({size.T, size.I}, GetParam(), 1);
  }
  TestTensor W(const Size& size) {
    return RandomTensor({size.O, size.I}, GetParam(), 2);
  }
  TestTensor Y(const Size& size) {
    return RandomTensor({size.T, size.O}, GetParam(), 3);
  }
  void ExpectOk() {
    EXPECT_TRUE(context().status().ok()) << context().status();
  }
  // The dtypes that a result may have.
  std::vector<DType> ResultTypes() {
    if (GetParam() == DType::kFloat32) return {DType::kFloat32};
    return {DType::kFloat32, DType::kBFloat16};
  }
};

TEST_P(LinearTest, ForwardIsXTimesTransposedW) {
  for (const Size& size : kSizes) {
    const TestTensor x = X(size);
    const TestTensor w = W(size);
    std::vector<double> expected(static_cast<size_t>(size.T * size.O));
    AddForward(expected, x.Values(), w.Values(), size.Part());
    for (DType dtype : ResultTypes()) {
      TestTensor y({size.T, size.O}, dtype);
      y.Fill(77);
      context().LinearForward(y, x, w, /*accumulate=*/false);
      ExpectRounded(y, expected, size.ToString());
    }
  }
  ExpectOk();
}

TEST_P(LinearTest, ForwardAddsToWhatIsThere) {
  for (const Size& size : kSizes) {
    const TestTensor x = X(size);
    const TestTensor w = W(size);
    for (DType dtype : ResultTypes()) {
      TestTensor y = RandomTensor({size.T, size.O}, dtype, 4);
      std::vector<double> expected = y.Values();
      AddForward(expected, x.Values(), w.Values(), size.Part());
      context().LinearForward(y, x, w, /*accumulate=*/true);
      ExpectRounded(y, expected, size.ToString());
    }
  }
  ExpectOk();
}

TEST_P(LinearTest, InputGradientIsDyTimesW) {
  for (const Size& size : kSizes) {
    const TestTensor d_y = Y(size);
    const TestTensor w = W(size);
    std::vector<double> expected(static_cast<size_t>(size.T * size.I));
    AddInputGradient(expected, d_y.Values(), w.Values(), size.Part());
    for (DType dtype : ResultTypes()) {
      TestTensor d_x({size.T, size.I}, dtype);
      d_x.Fill(77);
      context().LinearInputGradient(d_x, d_y, w, /*accumulate=*/false);
      ExpectRounded(d_x, expected, size.ToString());
    }
  }
  ExpectOk();
}

TEST_P(LinearTest, InputGradientAddsToWhatIsThere) {
  for (const Size& size : kSizes) {
    const TestTensor d_y = Y(size);
    const TestTensor w = W(size);
    for (DType dtype : ResultTypes()) {
      TestTensor d_x = RandomTensor({size.T, size.I}, dtype, 4);
      std::vector<double> expected = d_x.Values();
      AddInputGradient(expected, d_y.Values(), w.Values(), size.Part());
      context().LinearInputGradient(d_x, d_y, w, /*accumulate=*/true);
      ExpectRounded(d_x, expected, size.ToString());
    }
  }
  ExpectOk();
}

TEST_P(LinearTest, WeightGradientAddsTransposedDyTimesXInFloat32) {
  for (const Size& size : kSizes) {
    const TestTensor d_y = Y(size);
    const TestTensor x = X(size);
    TestTensor d_w = RandomTensor({size.O, size.I}, DType::kFloat32, 4);
    std::vector<double> expected = d_w.Values();
    AddWeightGradient(expected, d_y.Values(), x.Values(), size.Part());
    context().LinearWeightGradient(d_w, d_y, x);
    ExpectRounded(d_w, expected, size.ToString());
  }
  ExpectOk();
}

// Enough threads to make the tiles smaller, and more threads than tiles.
TEST_P(LinearTest, IsRightForAnyNumberOfThreads) {
  for (const Size& size : {Size{300, 530, 70}, Size{70, 5000, 3}}) {
    const TestTensor x = X(size);
    const TestTensor w = W(size);
    const TestTensor d_y = Y(size);
    std::vector<double> y_expected(static_cast<size_t>(size.T * size.O));
    std::vector<double> d_x_expected(static_cast<size_t>(size.T * size.I));
    std::vector<double> d_w_expected(static_cast<size_t>(size.O * size.I));
    AddForward(y_expected, x.Values(), w.Values(), size.Part());
    AddInputGradient(d_x_expected, d_y.Values(), w.Values(), size.Part());
    AddWeightGradient(d_w_expected, d_y.Values(), x.Values(), size.Part());
    for (int threads : {1, 3, 8, 64}) {
      const std::string what =
          absl::StrCat(size.ToString(), " on ", threads, " threads");
      const std::unique_ptr<Kernels> other = MakeCpuKernels(threads);
      TestTensor y({size.T, size.O}, GetParam());
      TestTensor d_x({size.T, size.I}, GetParam());
      TestTensor d_w({size.O, size.I}, DType::kFloat32);
      other->LinearForward(y, x, w, /*accumulate=*/false);
      other->LinearInputGradient(d_x, d_y, w, /*accumulate=*/false);
      other->LinearWeightGradient(d_w, d_y, x);
      ExpectRounded(y, y_expected, what);
      ExpectRounded(d_x, d_x_expected, what);
      ExpectRounded(d_w, d_w_expected, what);
    }
  }
}

bool SameBits(const TestTensor& a, const TestTensor& b) {
  return std::memcmp(a.view().raw(), b.view().raw(),
                     static_cast<size_t>(a.size() * SizeOf(a.dtype()))) == 0;
}

TEST_P(LinearTest, ProgressIsCalledBetweenTilesAndChangesNoBit) {
  const Size size{1030, 1100, 1000};
  const TestTensor x = X(size);
  const TestTensor w = W(size);
  const TestTensor d_y = Y(size);
  const std::unique_ptr<Kernels> single = MakeCpuKernels(1);
  for (Kernels* each : {&context(), single.get()}) {
    TestTensor y[2] = {{{size.T, size.O}, GetParam()},
                       {{size.T, size.O}, GetParam()}};
    TestTensor d_x[2] = {{{size.T, size.I}, GetParam()},
                         {{size.T, size.I}, GetParam()}};
    TestTensor d_w[2] = {{{size.O, size.I}, DType::kFloat32},
                         {{size.O, size.I}, DType::kFloat32}};
    int calls = 0;
    for (int with_progress : {0, 1}) {
      std::optional<ProgressScope> progress;
      if (with_progress == 1) progress.emplace(*each, [&calls] { ++calls; });
      each->LinearForward(y[with_progress], x, w, /*accumulate=*/false);
      each->LinearInputGradient(d_x[with_progress], d_y, w,
                                /*accumulate=*/false);
      each->LinearWeightGradient(d_w[with_progress], d_y, x);
    }
    // 5 x 3 tiles of y, 5 x 2 of d_x, 3 x 2 of d_w in 3 steps; of several
    // threads the one that called may have been late for all of them.
    if (each == single.get()) {
      EXPECT_EQ(calls, 43);
    }
    EXPECT_TRUE(SameBits(y[0], y[1]));
    EXPECT_TRUE(SameBits(d_x[0], d_x[1]));
    EXPECT_TRUE(SameBits(d_w[0], d_w[1]));
  }
}

TEST_P(LinearTest, NoImplementationIsNaive) {
  for (const Size& size : {Size{300, 530, 512}, Size{40, 64, 33}}) {
    const TestTensor x = X(size);
    const TestTensor w = W(size);
    const TestTensor d_y = Y(size);
    for (DType dtype : ResultTypes()) {
      for (bool accumulate : {false, true}) {
        TestTensor y({size.T, size.O}, dtype);
        TestTensor d_x({size.T, size.I}, dtype);
        context().LinearForward(y, x, w, accumulate);
        context().LinearInputGradient(d_x, d_y, w, accumulate);
      }
    }
    TestTensor d_w({size.O, size.I}, DType::kFloat32);
    context().LinearWeightGradient(d_w, d_y, x);
  }
  ExpectOk();
  const std::vector<std::string> names = context().MatMulImplementations();
  EXPECT_FALSE(names.empty());
  for (const std::string& name : names) {
    EXPECT_FALSE(absl::StrContains(name, "ref")) << name;
    RecordProperty(name, "used");
  }
}

TEST_P(LinearTest, AllocatesNothingOnceWarm) {
  const Size size{300, 530, 64};
  const TestTensor x = X(size);
  const TestTensor w = W(size);
  const TestTensor d_y = Y(size);
  TestTensor y({size.T, size.O}, GetParam());
  TestTensor d_x({size.T, size.I}, GetParam());
  TestTensor d_w({size.O, size.I}, DType::kFloat32);
  // One thread: what several leave in the heap's caches is chance.
  const std::unique_ptr<Kernels> single = MakeCpuKernels(1);
  const auto pass = [&] {
    single->LinearForward(y, x, w, /*accumulate=*/false);
    single->LinearInputGradient(d_x, d_y, w, /*accumulate=*/false);
    single->LinearWeightGradient(d_w, d_y, x);
  };
  for (int i = 0; i < 3; ++i) pass();
  const int64_t buffers = Buffer::num_allocated();
  const size_t heap = mallinfo2().uordblks;
  // A block of some kilobytes may move between the heap and its caches, which
  // are not counted; what each pass kept would be more, of 82 bytes on.
  for (int i = 0; i < 200; ++i) pass();
  EXPECT_EQ(Buffer::num_allocated(), buffers);
  EXPECT_LE(mallinfo2().uordblks, heap + 16384);
}

INSTANTIATE_BOTH_DTYPES(LinearTest);

}  // namespace
}  // namespace moe

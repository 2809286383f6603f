#include "moe/layers/language_model.h"

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "comm/activity.h"
#include "comm/base/buffer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/counted_heap.h"
#include "tests/golden_file.h"
#include "tests/moe/network_cases.h"
#include "tests/moe/reference_model.h"
#include "tests/moe/test_network.h"
#include "tests/test_device.h"

namespace moe {
namespace {

using reference::Tokens;

constexpr NetworkCase kCase = {.z_loss = true};

class LanguageModelTest : public testing::Test {
 protected:
  LanguageModelTest()
      : model_(SmallModel(kCase)),
        network_(model_, SmallRouter(kCase), DType::kFloat32),
        weights_(RandomWeights(model_, 1)),
        tokens_(RandomTokens(model_, 3, 7, 2)),
        scale_(ScaleOf({tokens_}, 0)) {
    network_.SetWeights(weights_);
  }

  // Makes one value of a parameter not a number.
  void Poison(const std::string& name) {
    NamedTensors weights = weights_;
    weights.at(name)[3] = std::numeric_limits<double>::quiet_NaN();
    network_.SetWeights(weights);
  }

  ModelConfig model_;
  TestNetwork network_;
  reference::Tensors weights_;
  Tokens tokens_;
  BatchScale scale_;
  std::unique_ptr<Kernels> kernels_ = TestKernels(1);  // of the test
};

TEST_F(LanguageModelTest, EvaluationGivesTheLossesOfTraining) {
  ASSERT_TRUE(network_.Step(tokens_, scale_).ok());
  const LossTerms training = network_.losses();
  network_.Clear();
  ASSERT_TRUE(network_.Evaluate(tokens_, scale_).ok());
  EXPECT_EQ(network_.losses().cross_entropy, training.cross_entropy);
  EXPECT_EQ(network_.losses().aux, training.aux);
  EXPECT_EQ(network_.losses().z, training.z);
  for (const auto& [name, gradient] : network_.Gradients())
    EXPECT_THAT(gradient, testing::Each(0)) << name;
}

TEST_F(LanguageModelTest, LogitsAreWhatTrainingTakesItsLossFrom) {
  const size_t rows = tokens_.inputs.size();
  const size_t columns = static_cast<size_t>(model_.vocab_size());
  const std::vector<double> logits =
      network_.Logits(tokens_, 0, static_cast<int64_t>(rows));
  double loss = 0;
  for (size_t t = 0; t < rows; ++t) {
    const auto row = logits.begin() + static_cast<ptrdiff_t>(t * columns);
    const reference::Vector z(row, row + static_cast<ptrdiff_t>(columns));
    loss +=
        reference::LogSumExp(z) - z[static_cast<size_t>(tokens_.targets[t])];
  }
  ASSERT_TRUE(network_.Evaluate(tokens_, scale_).ok());
  EXPECT_NEAR(network_.losses().cross_entropy, loss / static_cast<double>(rows),
              1e-6);
}

TEST_F(LanguageModelTest, LogitsOfSomeRowsAreThoseOfAll) {
  const std::vector<double> all = network_.Logits(tokens_, 0, 21);
  const std::vector<double> some = network_.Logits(tokens_, 6, 2);
  const ptrdiff_t columns = model_.vocab_size();
  const std::vector<double> expected(all.begin() + 6 * columns,
                                     all.begin() + 8 * columns);
  EXPECT_LT(RelativeDifference(some, expected), 1e-6);
}

TEST_F(LanguageModelTest, SequencesDoNotSeeEachOther) {
  const std::vector<double> together = network_.Logits(tokens_, 7, 7);
  const Tokens alone = {
      .inputs = {tokens_.inputs.begin() + 7, tokens_.inputs.begin() + 14},
      .targets = {},
      .length = 7};
  EXPECT_LT(RelativeDifference(network_.Logits(alone, 0, 7), together), 1e-6);
}

TEST_F(LanguageModelTest, LaterTokensDoNotChangeEarlierLogits) {
  const std::vector<double> before = network_.Logits(tokens_, 0, 6);
  tokens_.inputs[6] = (tokens_.inputs[6] + 1) % model_.vocab_size();
  EXPECT_LT(RelativeDifference(network_.Logits(tokens_, 0, 6), before), 1e-6);
}

TEST_F(LanguageModelTest, GradientsOfMicroStepsAddUp) {
  ASSERT_TRUE(network_.Step(tokens_, scale_).ok());
  const NamedTensors once = network_.Gradients();
  ASSERT_TRUE(network_.Step(tokens_, scale_).ok());
  for (auto [name, gradient] : network_.Gradients()) {
    for (double& value : gradient) value /= 2;
    EXPECT_LT(RelativeDifference(gradient, once.at(name)), 1e-6) << name;
  }
}

TEST_F(LanguageModelTest, NoTokensGiveNoLossAndNoGradient) {
  const Tokens none = {.inputs = {}, .targets = {}, .length = 7};
  ASSERT_TRUE(network_.Step(none, scale_).ok());
  EXPECT_EQ(network_.losses().cross_entropy, 0);
  EXPECT_EQ(network_.losses().aux, 0);
  EXPECT_EQ(network_.losses().z, 0);
  for (const auto& [name, gradient] : network_.Gradients())
    EXPECT_THAT(gradient, testing::Each(0)) << name;
}

// Writes down what it is shown: "layer kind expert", and the first of it that
// is not finite.
class Watcher : public TensorObserver {
 public:
  explicit Watcher(Kernels& kernels) : kernels_(kernels) {}

  void Observe(TensorKind kind, int layer, int local_expert,
               const Tensor& tensor) override {
    seen.push_back(absl::StrCat(layer, " ", Name(kind), " ", local_expert));
    if (first_bad.empty() && kernels_.FirstNonFinite(tensor) >= 0)
      first_bad = seen.back();
  }

  std::vector<std::string> seen;
  std::string first_bad;

 private:
  Kernels& kernels_;
};

TEST_F(LanguageModelTest, AnObserverIsShownTheTensorsOfAPassInTheirOrder) {
  Watcher watcher(*kernels_);
  network_.pass().observer = &watcher;
  ASSERT_TRUE(network_.Step(tokens_, scale_).ok());
  std::vector<std::string> expected = {"-1 embedding -1"};
  const auto add = [&](int layer, const char* name, int num_experts = 0) {
    if (num_experts == 0)
      expected.push_back(absl::StrCat(layer, " ", name, " -1"));
    for (int expert = 0; expert < num_experts; ++expert)
      expected.push_back(absl::StrCat(layer, " ", name, " ", expert));
  };
  const int experts = model_.num_local_experts();
  for (int layer = 0; layer < 2; ++layer) {
    for (const char* name :
         {"normed input of attention", "queries, keys and values",
          "attention heads", "attention output",
          "normed input of router and experts", "router logits",
          "routing weights"})
      add(layer, name);
    for (const char* name :
         {"gate and up projection", "hidden values", "output"})
      add(layer, name, experts);
    add(layer, "residual stream");
  }
  add(-1, "final norm");
  add(-1, "logits");
  add(-1, "gradient of the final norm's input");
  for (int layer : {1, 0}) {
    add(layer, "gradient of the experts' input");
    add(layer, "gradient of attention's input");
  }
  EXPECT_EQ(watcher.seen, expected);
  EXPECT_EQ(watcher.first_bad, "");
  network_.pass().observer = nullptr;
  ASSERT_TRUE(network_.Step(tokens_, scale_).ok());
  EXPECT_EQ(watcher.seen, expected);
}

// The layer is told by who calls it, not read from what the process says.
TEST_F(LanguageModelTest, AnObserverIsToldTheLayerWhereverTheProcessIs) {
  Watcher outside(*kernels_);
  network_.pass().observer = &outside;
  ASSERT_TRUE(network_.Step(tokens_, scale_).ok());
  Watcher elsewhere(*kernels_);
  network_.pass().observer = &elsewhere;
  const PhaseScope phase(Phase::kBlock, 7);
  ASSERT_TRUE(network_.Step(tokens_, scale_).ok());
  network_.pass().observer = nullptr;
  EXPECT_EQ(elsewhere.seen, outside.seen);
}

TEST_F(LanguageModelTest, AnObserverSeesWhereANumberFirstGoesWrong) {
  const std::pair<std::string, std::string> kPoisons[] = {
      {"model.embed_tokens.weight", "-1 embedding -1"},
      {"model.layers.0.self_attn.o_proj.weight", "0 attention output -1"},
      {"model.layers.1.self_attn.v_proj.weight",
       "1 queries, keys and values -1"},
      {"model.layers.1.block_sparse_moe.gate.weight", "1 router logits -1"},
      {"model.layers.0.block_sparse_moe.experts.1.w2.weight", "0 output 1"},
      {"model.norm.weight", "-1 final norm -1"},
      {"lm_head.weight", "-1 logits -1"}};
  tokens_.inputs[0] = 0;  // the embedding's row with the NaN
  for (const auto& [name, first] : kPoisons) {
    Poison(name);
    Watcher watcher(*kernels_);
    network_.pass().observer = &watcher;
    ASSERT_TRUE(network_.Evaluate(tokens_, scale_).ok());
    network_.pass().observer = nullptr;
    EXPECT_EQ(watcher.first_bad, first) << name;
  }
}

// Keeps the gradients as they were when they were said to be complete.
class Recorder : public GradientListener {
 public:
  explicit Recorder(const TestNetwork& network) : network_(network) {}

  absl::Status GradientsReady(ParameterRange range) override {
    NamedTensors gradients = network_.Gradients();
    for (int i = range.begin; i < range.end; ++i) {
      const Parameter& parameter =
          network_.table().parameters()[static_cast<size_t>(i)];
      order.push_back(i);
      said[parameter.name] = gradients.at(parameter.name);
    }
    return absl::OkStatus();
  }

  std::vector<int> order;
  NamedTensors said;

 private:
  const TestNetwork& network_;
};

TEST_F(LanguageModelTest, TheListenerHearsOfEveryGradientOnceItIsComplete) {
  for (bool tied : {false, true}) {
    const NetworkCase c = {.z_loss = true, .tied = tied};
    TestNetwork network(SmallModel(c), SmallRouter(c), DType::kFloat32);
    network.SetWeights(RandomWeights(SmallModel(c), 3));
    Recorder recorder(network);
    ASSERT_TRUE(network.Step(tokens_, scale_, &recorder).ok());
    EXPECT_EQ(recorder.order.size(), network.table().parameters().size());
    EXPECT_EQ(recorder.said, network.Gradients());
    // From the last layer to the first.
    EXPECT_EQ(recorder.order.front(), network.table().head().begin);
    EXPECT_EQ(recorder.order.back(), network.table().embedding().begin);
  }
}

TEST_F(LanguageModelTest, AListenersErrorEndsTheBackward) {
  class Failing : public GradientListener {
    absl::Status GradientsReady(ParameterRange) override {
      return absl::UnavailableError("no network");
    }
  } failing;
  EXPECT_EQ(network_.Step(tokens_, scale_, &failing).code(),
            absl::StatusCode::kUnavailable);
}

// Two micro-batches of different shapes, each with gradients of its own or
// shared ones.
class PassesTest : public LanguageModelTest {
 protected:
  struct Part {
    Part(const TestNetwork& network, const ModelConfig& model, const Tokens& of,
         Arena& scratch)
        : batch(UploadBatch(memory, of, ScaleOf({of}, 0))),
          storage(ParameterStorage::AllocateGradients(network.table(),
                                                      TestContext())
                      .value()),
          gradients(BindWeights(model, network.table(), storage)),
          pass(scratch) {}

    Arena memory{TestContext()};
    MicroBatch batch;
    ParameterStorage storage;
    ModelWeights gradients;
    Pass pass;
    LossTerms losses;
  };

  void Forward(Part& part, ModelWeights& gradients) {
    ASSERT_TRUE(network_.model()
                    .Forward(part.pass, &part.losses, part.batch,
                             network_.bound_weights(), &gradients)
                    .ok());
  }
  void Backward(Part& part, ModelWeights& gradients) {
    ASSERT_TRUE(
        network_.model()
            .Backward(part.pass, network_.bound_weights(), gradients, nullptr)
            .ok());
  }
  NamedTensors GradientsOf(const Part& part) const {
    return GetParameters(network_.table(), part.storage);
  }
  // What a part yields when nothing else is in flight.
  NamedTensors Alone(const Tokens& tokens) {
    Part part(network_, model_, tokens, scratch_);
    Forward(part, part.gradients);
    Backward(part, part.gradients);
    return GradientsOf(part);
  }

  Arena scratch_{TestContext()};
  Tokens other_ = RandomTokens(model_, 2, 5, 4);
};

TEST_F(PassesTest, PassesInFlightDoNotSeeEachOther) {
  Part one(network_, model_, tokens_, scratch_);
  Part two(network_, model_, other_, scratch_);
  Forward(one, one.gradients);
  Forward(two, two.gradients);
  Backward(two, two.gradients);
  Backward(one, one.gradients);
  EXPECT_EQ(GradientsOf(one), Alone(tokens_));
  EXPECT_EQ(GradientsOf(two), Alone(other_));
}

TEST_F(PassesTest, TheirOrderChangesASharedSumByRoundingOnly) {
  Part one(network_, model_, tokens_, scratch_);
  Part two(network_, model_, other_, scratch_);
  Part sum(network_, model_, tokens_, scratch_);
  Forward(one, sum.gradients);
  Forward(two, sum.gradients);
  Backward(two, sum.gradients);
  Backward(one, sum.gradients);
  Part usual(network_, model_, tokens_, scratch_);
  for (Part* part : {&one, &two}) {
    Forward(*part, usual.gradients);
    Backward(*part, usual.gradients);
  }
  const NamedTensors expected = GradientsOf(usual);
  for (const auto& [name, gradient] : GradientsOf(sum))
    EXPECT_LT(RelativeDifference(gradient, expected.at(name)), 1e-6) << name;
}

TEST_F(PassesTest, EvaluationBetweenForwardAndBackwardChangesNothing) {
  Part one(network_, model_, tokens_, scratch_);
  Forward(one, one.gradients);
  ASSERT_TRUE(network_.Evaluate(other_, ScaleOf({other_}, 0)).ok());
  Backward(one, one.gradients);
  EXPECT_EQ(GradientsOf(one), Alone(tokens_));
}

TEST_F(PassesTest, BackwardLeavesAPassEmpty) {
  Part one(network_, model_, tokens_, scratch_);
  Forward(one, one.gradients);
  EXPECT_GT(one.pass.saved.mark().used, 0);
  Backward(one, one.gradients);
  EXPECT_EQ(one.pass.saved.mark().used, 0);
  EXPECT_EQ(one.pass.routing.mark().used, 0);
  EXPECT_EQ(scratch_.mark().used, 0);
}

// Steps and evaluations of two lengths by turns.
TEST_F(LanguageModelTest, AfterTheFirstStepsNoMemoryIsTaken) {
  const Tokens shorter = RandomTokens(model_, 2, 5, 4);
  const BatchScale shorter_scale = ScaleOf({shorter}, 0);
  auto steps = [&](int num) {
    for (int i = 0; i < num; ++i) {
      ASSERT_TRUE(network_.Step(tokens_, scale_).ok());
      ASSERT_TRUE(network_.Step(shorter, shorter_scale).ok());
      ASSERT_TRUE(network_.Evaluate(tokens_, scale_).ok());
    }
  };
  steps(3);
  const int64_t buffers = Buffer::num_allocated();
  const int64_t heap = LiveHeapBytes();
  steps(7);
  EXPECT_EQ(Buffer::num_allocated(), buffers);
  EXPECT_EQ(LiveHeapBytes(), heap);
}

}  // namespace
}  // namespace moe

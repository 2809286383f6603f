#include "trainer/generate/generator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/data/model_builder.h"
#include "tests/test_device.h"
#include "tests/trainer/weights_only_state.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/checkpoint/format/manifest.h"
#include "trainer/checkpoint/store/checkpoint_saver.h"
#include "trainer/checkpoint/store/weights_loader.h"

namespace moe {
namespace {

using testing::HasSubstr;

constexpr int kMaxPositions = 24;
constexpr uint64_t kSeed = 5;

ModelBuilder Letters() {  // each a piece of its own
  ModelBuilder builder;
  builder.Add({kSpaceSymbol, "a", "b", "c", "d", "e", "f", "g"});
  return builder;
}

ModelConfig TinyModel() {
  ModelConfig model;
  model.set_vocab_size(Letters().proto.pieces_size());
  model.set_hidden_size(16);
  model.set_intermediate_size(12);
  model.set_num_hidden_layers(2);
  model.set_num_attention_heads(2);
  model.set_num_key_value_heads(1);
  model.set_num_local_experts(4);
  model.set_initializer_range(0.3);  // so that the context matters
  model.set_max_position_embeddings(kMaxPositions);
  return model;
}

// Weights by parameter and element.
using WeightFunction = std::function<void(const Parameter&, absl::Span<float>)>;

class FunctionState : public WeightsOnlyState {
 public:
  FunctionState(const ParameterTable& table, WeightFunction function)
      : table_(table), function_(std::move(function)) {}

  absl::Status Gather(ArenaKind kind, int64_t begin,
                      absl::Span<float> out) override {
    for (const Parameter& parameter : table_.parameters())
      if (parameter.arena == kind && parameter.offset == begin)
        function_(parameter, out);
    return absl::OkStatus();
  }

 private:
  const ParameterTable& table_;
  const WeightFunction function_;
};

// A model whose logits are the same everywhere: those given for each id.
WeightFunction AlwaysLogits(const std::vector<float>& logits) {
  return [logits](const Parameter& parameter, absl::Span<float> out) {
    const bool ones =
        parameter.is_norm || parameter.name == "model.embed_tokens.weight";
    std::fill(out.begin(), out.end(), ones ? 1.0f : 0.0f);
    if (parameter.name != "lm_head.weight") return;
    const size_t width = out.size() / logits.size();
    for (size_t i = 0; i < out.size(); ++i)
      out[i] = logits[i / width] / static_cast<float>(width);
  };
}

class GeneratorTest : public testing::Test {
 protected:
  GeneratorTest()
      : directory_(JoinPath(
            testing::TempDir(),
            testing::UnitTest::GetInstance()->current_test_info()->name())) {
    EXPECT_TRUE(files_.Remove(directory_).ok());
  }
  ~GeneratorTest() override { EXPECT_TRUE(files_.Remove(directory_).ok()); }

  // Saves a checkpoint as training does.
  void Save(const ModelConfig& model, const WeightFunction& weights,
            bool add_bos = false) {
    const Mesh mesh = *Mesh::Create(1, 1, 1, model.num_local_experts());
    const ProcessGroups groups = ProcessGroups::CreateSingle();
    const ParameterTable table(model, DType::kFloat32, mesh, 0);
    FunctionState state(table, weights);
    const auto tokenizer = Letters().Load();
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    const auto saver = CheckpointSaver::Create(
        files_,
        {.table = table, .mesh = mesh, .groups = groups, .state = state}, {});
    ASSERT_TRUE(saver.ok()) << saver.status();
    CheckpointManifest manifest;
    manifest.set_step(1);
    const auto path =
        (*saver)->Save(directory_, manifest,
                       ModelFiles(model, RouterConfig(), kMaxPositions,
                                  tokenizer->get(), add_bos));
    ASSERT_TRUE(path.ok()) << path.status();
    checkpoint_ = *path;
  }

  void SaveRandom(bool add_bos = false) {
    const ModelConfig model = TinyModel();
    Save(
        model,
        [model](const Parameter& parameter, absl::Span<float> out) {
          InitialValues(model, parameter, kSeed, 0, out);
        },
        add_bos);
  }

  std::unique_ptr<Generator> Load() {
    auto generator = Generator::Load(files_, checkpoint_, 1, TestKernels(1));
    EXPECT_TRUE(generator.ok()) << generator.status();
    return generator.ok() ? *std::move(generator) : nullptr;
  }

  // Text and why it ended.
  std::pair<std::string, StopReason> Generate(const GenerateOptions& options) {
    std::string text;
    const auto reason = Load()->Generate(options, [&](absl::string_view piece) {
      text.append(piece.data(), piece.size());
    });
    EXPECT_TRUE(reason.ok()) << reason.status();
    return {text, reason.ok() ? *reason : StopReason::kMaxTokens};
  }

  absl::Status GenerateStatus(const GenerateOptions& options) {
    return Load()->Generate(options, [](absl::string_view) {}).status();
  }

  // Continues `ids` greedily with logits of all rows of a sequence of the full
  // length: another way to the same, since attention is causal.
  std::vector<int32_t> GreedyByFullRows(std::vector<int32_t> ids, int count) {
    const ModelConfig model = TinyModel();
    const Mesh mesh = *Mesh::Create(1, 1, 1, model.num_local_experts());
    const ProcessGroups groups = ProcessGroups::CreateSingle();
    const std::unique_ptr<Kernels> kernels = TestKernels(1);
    const ParameterTable table(model, DType::kFloat32, mesh, 0);
    DeviceContext& device = TestContext();
    const auto storage = *ParameterStorage::AllocateWeights(table, device);
    const auto loader = *WeightsLoader::Open(files_, checkpoint_);
    EXPECT_TRUE(LoadWeights(*loader, table, storage, device).ok());
    const ModelWeights weights = BindWeights(model, table, storage);
    const auto network = *LanguageModel::Create(
        {.model = model, .router = {}, .max_length = kMaxPositions}, table,
        groups, *kernels);
    Arena scratch(device);
    Pass pass(scratch);
    const int64_t V = model.vocab_size();
    const Tensor ids_S = *scratch.Allocate({kMaxPositions}, DType::kInt32);
    const Tensor logits_SV =
        *scratch.Allocate({kMaxPositions, V}, DType::kFloat32);
    for (; count > 0; --count) {
      std::vector<int32_t> padded = ids;
      padded.resize(kMaxPositions);
      SetHostValues(ids_S, padded);
      const absl::Status computed =
          network->Logits(pass, logits_SV, ids_S, kMaxPositions, 0, weights);
      EXPECT_TRUE(computed.ok());
      const auto logits = HostValues<float>(logits_SV);
      const auto row =
          logits.begin() + static_cast<std::ptrdiff_t>(ids.size() - 1) * V;
      ids.push_back(static_cast<int32_t>(std::max_element(row, row + V) - row));
      if (ids.back() == 2) break;  // </s>
    }
    return ids;
  }

  FileSystem& files_ = PosixFileSystem();
  const std::string directory_;
  std::string checkpoint_;
};

GenerateOptions Greedy(const std::string& prompt, int64_t max_tokens) {
  return {.prompt = prompt,
          .max_tokens = max_tokens,
          .sampling = {.temperature = 0}};
}

TEST_F(GeneratorTest, GreedyTextIsTheModelsOwn) {
  SaveRandom();
  const auto tokenizer = *Letters().Load();
  for (const char* prompt : {"a", "gfe dcb", "cab"}) {
    const std::vector<int32_t> ids =
        GreedyByFullRows(EncodeIds(*tokenizer, prompt), 12);
    EXPECT_EQ(Generate(Greedy(prompt, 12)).first, tokenizer->Decode(ids));
  }
}

TEST_F(GeneratorTest, TheSameSeedGivesTheSameText) {
  SaveRandom();
  GenerateOptions options{
      .prompt = "abc", .max_tokens = 20, .sampling = {}, .seed = 3};
  const std::string text = Generate(options).first;
  EXPECT_EQ(Generate(options).first, text);
  options.seed = 4;
  EXPECT_NE(Generate(options).first, text);
}

TEST_F(GeneratorTest, TextComesInPieces) {
  SaveRandom();
  int pieces = 0;
  ASSERT_TRUE(Load()
                  ->Generate(Greedy("abc", 10),
                             [&](absl::string_view text) {
                               pieces += text.empty() ? 0 : 1;
                             })
                  .ok());
  EXPECT_GT(pieces, 3);
}

TEST_F(GeneratorTest, StopsAtTheEndOfTheText) {
  std::vector<float> logits(static_cast<size_t>(TinyModel().vocab_size()));
  logits[2] = 1;
  Save(TinyModel(), AlwaysLogits(logits));
  const auto [text, reason] = Generate(Greedy("abc", 10));
  EXPECT_EQ(text, "abc");
  EXPECT_EQ(reason, StopReason::kEndOfText);
}

TEST_F(GeneratorTest, StopsAfterMaxTokens) {
  std::vector<float> logits(static_cast<size_t>(TinyModel().vocab_size()));
  logits[4] = 1;  // "a"
  Save(TinyModel(), AlwaysLogits(logits));
  const auto [text, reason] = Generate(Greedy("b", 5));
  EXPECT_EQ(text, "baaaaa");
  EXPECT_EQ(reason, StopReason::kMaxTokens);
}

TEST_F(GeneratorTest, StopsAtTheModelsLastPosition) {
  std::vector<float> logits(static_cast<size_t>(TinyModel().vocab_size()));
  logits[4] = 1;
  Save(TinyModel(), AlwaysLogits(logits));
  // The prompt's two tokens (a space comes first) and 22 made ones fill the
  // positions; the last of them makes one more.
  for (int64_t tokens : {int64_t{24}, std::numeric_limits<int64_t>::max()}) {
    const auto [text, reason] = Generate(Greedy("b", tokens));
    EXPECT_EQ(text, "b" + std::string(23, 'a'));
    EXPECT_EQ(reason, StopReason::kMaxPositions);
  }
  EXPECT_EQ(Generate(Greedy("b", 23)).second, StopReason::kMaxTokens);
}

TEST_F(GeneratorTest, AnEmptyPromptBeginsADocument) {
  SaveRandom();
  const auto tokenizer = *Letters().Load();
  EXPECT_EQ(Generate(Greedy("", 10)).first,
            tokenizer->Decode(GreedyByFullRows({tokenizer->eos_id()}, 10)));
}

TEST_F(GeneratorTest, BeginsWithBosIfTheTokenizerDoes) {
  SaveRandom(/*add_bos=*/true);
  const auto tokenizer = *Letters().Load();
  std::vector<int32_t> ids = {tokenizer->bos_id()};
  tokenizer->Encode("ab", ids);
  EXPECT_EQ(Generate(Greedy("ab", 10)).first,
            tokenizer->Decode(GreedyByFullRows(ids, 10)));
}

// What ends a text is config.json's and generation_config.json's word, a number
// or a list; the tokenizer's </s> where both are silent.
TEST_F(GeneratorTest, TheCheckpointSaysWhatEndsAText) {
  const auto with_ends = [&](const char* config, const char* generation) {
    std::vector<float> logits(static_cast<size_t>(TinyModel().vocab_size()));
    logits[5] = 9;
    Save(TinyModel(), AlwaysLogits(logits));
    EXPECT_TRUE(files_.Remove(JoinPath(checkpoint_, kManifestFile)).ok());
    const std::string path = JoinPath(checkpoint_, kConfigFile);
    std::string text = *files_.ReadFile(path, 1 << 20);
    text = absl::StrReplaceAll(text, {{"\"eos_token_id\": 2", config}});
    EXPECT_TRUE(WriteDurably(files_, path, text).ok());
    EXPECT_TRUE(WriteDurably(files_,
                             JoinPath(checkpoint_, kGenerationConfigFile),
                             generation)
                    .ok());
    const StopReason reason = Generate(Greedy("b", 3)).second;
    EXPECT_TRUE(files_.Remove(directory_).ok());
    return reason;
  };
  const auto end = StopReason::kEndOfText;
  const auto all = StopReason::kMaxTokens;
  const char* two = "\"eos_token_id\": 2";
  EXPECT_EQ(with_ends(two, "{}"), all);
  EXPECT_EQ(with_ends("\"eos_token_id\": [2, 5]", "{}"), end);
  EXPECT_EQ(with_ends("\"eos_token_id\": null", "{}"), all);
  EXPECT_EQ(with_ends(two, "{\"eos_token_id\": 5}"), end);
  EXPECT_EQ(with_ends(two, "{\"eos_token_id\": [2, 4, 5]}"), end);
  EXPECT_EQ(with_ends("\"eos_token_id\": 5", "{\"eos_token_id\": 2}"), all);
}

TEST_F(GeneratorTest, AnEndBeyondTheVocabularyComes) {
  ModelConfig model = TinyModel();
  const int pieces = model.vocab_size();
  model.set_vocab_size(pieces + 5);
  std::vector<float> logits(static_cast<size_t>(pieces) + 5);
  logits[static_cast<size_t>(pieces) + 2] = 9;
  Save(model, AlwaysLogits(logits));
  ASSERT_TRUE(files_.Remove(JoinPath(checkpoint_, kManifestFile)).ok());
  ASSERT_TRUE(WriteDurably(files_, JoinPath(checkpoint_, kGenerationConfigFile),
                           absl::StrCat("{\"eos_token_id\":", pieces + 2, "}"))
                  .ok());
  EXPECT_EQ(Generate(Greedy("b", 3)).second, StopReason::kEndOfText);
}

TEST_F(GeneratorTest, IdsWithoutTextNeverCome) {
  ModelConfig model = TinyModel();
  const size_t pieces = static_cast<size_t>(model.vocab_size());
  model.set_vocab_size(model.vocab_size() + 5);
  std::vector<float> logits(pieces + 5);
  logits[4] = 1;
  logits[pieces + 2] = 9;
  Save(model, AlwaysLogits(logits));
  EXPECT_EQ(Generate(Greedy("b", 3)).first, "baaa");
}

TEST_F(GeneratorTest, APromptTooLongIsRefusedWithBothNumbers) {
  SaveRandom();
  const absl::Status status =
      GenerateStatus(Greedy(std::string(kMaxPositions, 'a'), 1));
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("is 25 tokens long, must be at most "
                        "max_position_embeddings (24)"));
  EXPECT_TRUE(
      GenerateStatus(Greedy(std::string(kMaxPositions - 1, 'a'), 1)).ok());
}

TEST_F(GeneratorTest, OptionsOutOfRangeAreRefused) {
  SaveRandom();
  EXPECT_TRUE(absl::IsInvalidArgument(GenerateStatus(Greedy("a", 0))));
  EXPECT_TRUE(absl::IsInvalidArgument(
      GenerateStatus({.prompt = "a", .sampling = {.top_p = 2}})));
}

TEST_F(GeneratorTest, LogitsThatAreNotFiniteEndIt) {
  std::vector<float> logits(static_cast<size_t>(TinyModel().vocab_size()));
  logits[5] = std::numeric_limits<float>::quiet_NaN();
  Save(TinyModel(), AlwaysLogits(logits));
  EXPECT_TRUE(absl::IsOutOfRange(GenerateStatus(Greedy("a", 1))));
}

TEST_F(GeneratorTest, WhatACheckpointLacksIsNamed) {
  SaveRandom();
  const auto lack = [&](const char* name, absl::StatusCode code) {
    ASSERT_TRUE(files_.Remove(JoinPath(checkpoint_, name)).ok());
    const absl::Status status =
        Generator::Load(files_, checkpoint_, 1).status();
    EXPECT_EQ(status.code(), code);
    EXPECT_THAT(std::string(status.message()), HasSubstr(name));
  };
  lack(kTokenizerFile, absl::StatusCode::kDataLoss);
  // Without a manifest nothing says what there was.
  ASSERT_TRUE(files_.Remove(JoinPath(checkpoint_, kManifestFile)).ok());
  lack(kTokenizerFile, absl::StatusCode::kNotFound);
  lack(kConfigFile, absl::StatusCode::kNotFound);
}

TEST_F(GeneratorTest, BytesThatWereNotWrittenAreNamed) {
  SaveRandom();
  const std::string name = WeightsFileName(0, 1);
  const std::string path = JoinPath(checkpoint_, name);
  std::string bytes = *files_.ReadFile(path, int64_t{1} << 20);
  bytes.back() ^= 1;
  ASSERT_TRUE(WriteDurably(files_, path, bytes).ok());
  const absl::Status status = Generator::Load(files_, checkpoint_, 1).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr(name + " is damaged"));
  // Without a manifest nothing tells.
  ASSERT_TRUE(files_.Remove(JoinPath(checkpoint_, kManifestFile)).ok());
  Load();
}

TEST_F(GeneratorTest, ATokenizerLargerThanTheModelIsRefused) {
  ModelConfig model = TinyModel();
  model.set_vocab_size(7);
  Save(model, AlwaysLogits(std::vector<float>(7)));
  const absl::Status status = Generator::Load(files_, checkpoint_, 1).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("has 11 pieces"));
}

}  // namespace
}  // namespace moe

#include "trainer/checkpoint/weights_loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "trainer/checkpoint/checkpoint_directory.h"
#include "trainer/checkpoint/weight_values.h"

namespace moe {
namespace {

using testing::HasSubstr;

constexpr int kExperts = 4;

ModelConfig SmallModel() {
  ModelConfig model;
  model.set_vocab_size(10);
  model.set_hidden_size(8);
  model.set_intermediate_size(6);
  model.set_num_hidden_layers(2);
  model.set_num_attention_heads(2);
  model.set_num_key_value_heads(1);
  model.set_num_local_experts(kExperts);
  return model;
}

// Element `element` of parameter `index`; exact in bfloat16 and half.
float ValueOf(size_t index, int64_t element) {
  return static_cast<float>((static_cast<int64_t>(index) * 7 + element) % 127);
}

using Tensors = std::vector<std::pair<StoredTensor, std::vector<float>>>;

std::string ToBytes(const std::vector<float>& values, StoredDType dtype) {
  std::string bytes;
  for (float value : values) {
    if (dtype == StoredDType::kBF16) {
      const BFloat16 half = ToBFloat16(value);
      bytes.append(reinterpret_cast<const char*>(&half), 2);
    } else {
      bytes.append(reinterpret_cast<const char*>(&value), 4);
    }
  }
  return bytes;
}

class WeightsLoaderTest : public testing::Test {
 protected:
  WeightsLoaderTest()
      : mesh_(*Mesh::Create(1, 1, 1, kExperts)),
        table_(SmallModel(), DType::kFloat32, mesh_, 0),
        directory_(
            JoinPath(testing::TempDir(),
                     absl::StrCat("loader_", testing::UnitTest::GetInstance()
                                                 ->current_test_info()
                                                 ->name()))) {
    EXPECT_TRUE(files_.Remove(directory_).ok());
    EXPECT_TRUE(files_.MakeDirectories(directory_).ok());
  }
  ~WeightsLoaderTest() override { EXPECT_TRUE(files_.Remove(directory_).ok()); }

  std::vector<float> Values(size_t index) const {
    std::vector<float> values;
    for (int64_t e = 0; e < table_.parameters()[index].size; ++e)
      values.push_back(ValueOf(index, e));
    return values;
  }

  // Every tensor of the model under its classic name.
  Tensors Classic() const {
    Tensors tensors;
    for (size_t i = 0; i < table_.parameters().size(); ++i) {
      const Parameter& parameter = table_.parameters()[i];
      StoredTensor tensor;
      tensor.name = parameter.name;
      tensor.shape.assign(parameter.shape.begin(), parameter.shape.end());
      tensors.emplace_back(tensor, Values(i));
    }
    return tensors;
  }

  // The same as transformers 5 keeps it in memory.
  Tensors Stacked() const {
    Tensors tensors;
    std::map<std::string, std::pair<StoredTensor, std::vector<float>>> stacks;
    for (auto& [tensor, values] : Classic()) {
      const size_t moe = tensor.name.find("block_sparse_moe.");
      if (moe == std::string::npos ||
          tensor.name.find(".gate.") != std::string::npos) {
        tensor.name =
            absl::StrReplaceAll(tensor.name, {{"block_sparse_moe", "mlp"}});
        tensors.emplace_back(tensor, values);
        continue;
      }
      const bool down = tensor.name.find("w2") != std::string::npos;
      const std::string name =
          absl::StrCat(tensor.name.substr(0, moe), "mlp.experts.",
                       down ? "down_proj" : "gate_up_proj");
      auto& [stack, stacked] = stacks[name];
      stack.name = name;
      stack.shape = {kExperts, down ? 8u : 12u, down ? 6u : 8u};
      stacked.insert(stacked.end(), values.begin(), values.end());
    }
    for (auto& [name, stack] : stacks) tensors.push_back(stack);
    return tensors;
  }

  void WriteFile(const std::string& name, const Tensors& tensors,
                 StoredDType dtype = StoredDType::kF32) {
    std::vector<StoredTensor> headers;
    std::map<std::string, std::vector<float>> values;
    for (auto [tensor, elements] : tensors) {
      tensor.dtype = dtype;
      headers.push_back(tensor);
      values[tensor.name] = elements;
    }
    auto writer =
        SafetensorsWriter::Create(files_, JoinPath(directory_, name), headers);
    ASSERT_TRUE(writer.ok()) << writer.status();
    for (const StoredTensor& tensor : (*writer)->tensors())
      ASSERT_TRUE(
          (*writer)
              ->AppendBytes(tensor.name, ToBytes(values[tensor.name], dtype))
              .ok());
    ASSERT_TRUE((*writer)->Finish().ok());
  }

  void WriteText(const std::string& name, const std::string& text) {
    ASSERT_TRUE(
        WriteFileAtomically(files_, JoinPath(directory_, name), text).ok());
  }

  std::unique_ptr<WeightsLoader> Open() {
    auto loader = WeightsLoader::Open(files_, directory_);
    EXPECT_TRUE(loader.ok()) << loader.status();
    return loader.ok() ? *std::move(loader) : nullptr;
  }

  void ExpectAll(const WeightsLoader& loader) {
    const absl::Status complete = loader.Check(table_);
    ASSERT_TRUE(complete.ok()) << complete;
    for (size_t i = 0; i < table_.parameters().size(); ++i) {
      std::vector<float> values(
          static_cast<size_t>(table_.parameters()[i].size));
      ASSERT_TRUE(loader
                      .LoadParameter(table_.parameters()[i].name, 0,
                                     absl::MakeSpan(values))
                      .ok());
      EXPECT_EQ(values, Values(i)) << table_.parameters()[i].name;
    }
  }

  void ExpectOpenFails(absl::StatusCode code, const std::string& message) {
    const absl::Status status =
        WeightsLoader::Open(files_, directory_).status();
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }

  void ExpectCheckFails(const Tensors& tensors, const std::string& message) {
    WriteFile(kSingleWeightsFile, tensors);
    const absl::Status status = Open()->Check(table_);
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }

  FileSystem& files_ = PosixFileSystem();
  const Mesh mesh_;
  const ParameterTable table_;
  const std::string directory_;
};

TEST_F(WeightsLoaderTest, OneFileUnderClassicNames) {
  WriteFile(kSingleWeightsFile, Classic());
  ExpectAll(*Open());
}

TEST_F(WeightsLoaderTest, StackedExpertsOfVersionFive) {
  WriteFile(kSingleWeightsFile, Stacked());
  ExpectAll(*Open());
}

TEST_F(WeightsLoaderTest, BFloat16IsReadAsFloat) {
  WriteFile(kSingleWeightsFile, Classic(), StoredDType::kBF16);
  ExpectAll(*Open());
}

TEST_F(WeightsLoaderTest, ShardsByTheirIndex) {
  Tensors first = Classic();
  const Tensors second(first.begin() + 20, first.end());
  first.resize(20);
  WriteFile("a.safetensors", first);
  WriteFile("b.safetensors", second);
  std::string map;
  for (const auto& [tensor, values] : first)
    absl::StrAppend(&map, map.empty() ? "" : ",", "\"", tensor.name,
                    "\":\"a.safetensors\"");
  for (const auto& [tensor, values] : second)
    absl::StrAppend(&map, ",\"", tensor.name, "\":\"b.safetensors\"");
  WriteText(kWeightsIndexFile, absl::StrCat("{\"weight_map\":{", map, "}}"));
  ExpectAll(*Open());

  WriteText(
      kWeightsIndexFile,
      absl::StrCat("{\"weight_map\":{\"z\":\"b.safetensors\",", map, "}}"));
  ExpectOpenFails(absl::StatusCode::kDataLoss,
                  "places z in b.safetensors, which does not hold it");
  WriteText(
      kWeightsIndexFile,
      absl::StrCat("{\"weight_map\":{\"z\":\"c.safetensors\",", map, "}}"));
  ExpectOpenFails(absl::StatusCode::kNotFound, "c.safetensors");
  WriteText(kWeightsIndexFile,
            "{\"weight_map\":{\"lm_head.weight\":\"b.safetensors\"}}");
  ExpectOpenFails(absl::StatusCode::kDataLoss, "does not place there");
}

TEST_F(WeightsLoaderTest, ASliceIsReadAlone) {
  WriteFile(kSingleWeightsFile, Stacked());
  const auto loader = Open();
  for (const char* name :
       {"model.layers.1.block_sparse_moe.experts.3.w3.weight",
        "model.layers.0.block_sparse_moe.experts.1.w2.weight"}) {
    const size_t index = static_cast<size_t>(table_.Find(name));
    std::vector<float> values(5);
    ASSERT_TRUE(loader->LoadParameter(name, 11, absl::MakeSpan(values)).ok());
    for (int64_t i = 0; i < 5; ++i)
      EXPECT_EQ(values[static_cast<size_t>(i)], ValueOf(index, 11 + i));
  }
}

TEST_F(WeightsLoaderTest, EveryRankTakesWhatItHolds) {
  WriteFile(kSingleWeightsFile, Classic());
  const auto loader = Open();
  const Mesh mesh = *Mesh::Create(2, 1, 2, kExperts);
  for (DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    for (int rank : {0, 1}) {
      const ParameterTable table(SmallModel(), dtype, mesh, rank);
      const auto storage = ParameterStorage::AllocateWeights(table);
      ASSERT_TRUE(storage.ok());
      ASSERT_TRUE(LoadWeights(*loader, table, *storage).ok());
      for (size_t i = 0; i < table.parameters().size(); ++i) {
        const Parameter& parameter = table.parameters()[i];
        if (!parameter.local) continue;
        const Tensor tensor = storage->Get(parameter);
        for (int64_t e = 0; e < parameter.size; ++e) {
          const float value = tensor.dtype() == DType::kFloat32
                                  ? tensor.data<float>()[e]
                                  : ToFloat(tensor.data<BFloat16>()[e]);
          ASSERT_EQ(value, ValueOf(i, e)) << parameter.name;
        }
      }
    }
  }
}

TEST_F(WeightsLoaderTest, AHeadBesideTiedEmbeddingsMustBeTheEmbedding) {
  ModelConfig tied = SmallModel();
  tied.set_tie_word_embeddings(true);
  const ParameterTable table(tied, DType::kFloat32, mesh_, 0);
  Tensors tensors = Classic();
  ASSERT_EQ(tensors.front().first.name, kEmbeddingName);
  ASSERT_EQ(tensors.back().first.name, kHeadName);
  tensors.back().second = tensors.front().second;
  WriteFile(kSingleWeightsFile, tensors);
  EXPECT_TRUE(Open()->Check(table).ok());
  EXPECT_TRUE(CheckSpareTensors(*Open(), tied).ok());
  // The last element, which the last of three shares sees.
  tensors.back().second.back() += 1;
  WriteFile(kSingleWeightsFile, tensors);
  const auto loader = Open();
  EXPECT_TRUE(loader->Check(table).ok());
  EXPECT_THAT(std::string(CheckSpareTensors(*loader, tied).message()),
              HasSubstr("lm_head.weight differs from model.embed_tokens.weight "
                        "(element 79 is "));
  EXPECT_TRUE(CheckWeightValues(*loader, tied, 0, 3).ok());
  EXPECT_TRUE(
      absl::IsFailedPrecondition(CheckWeightValues(*loader, tied, 2, 3)));
  tensors.back().first.shape = {8, 10};
  WriteFile(kSingleWeightsFile, tensors);
  EXPECT_THAT(std::string(Open()->Check(table).message()),
              HasSubstr("lm_head.weight (F32 [8, 10]"));
}

TEST_F(WeightsLoaderTest, RotaryBuffersArePassedOverIfTheyAreTheModels) {
  Tensors tensors = Classic();
  const auto add = [&](const std::string& name, std::vector<float> values,
                       std::vector<uint64_t> shape = {}) {
    StoredTensor tensor;
    tensor.name = name;
    tensor.shape = shape;
    if (shape.empty()) tensor.shape = {values.size()};
    tensors.emplace_back(tensor, values);
    WriteFile(kSingleWeightsFile, tensors);
  };
  const std::string layer = "model.layers.1.self_attn.rotary_emb.";
  // Heads of 4; rounded as bfloat16 would.
  add(layer + "inv_freq", {1, 0.000999f});
  // Of two positions.
  add("model.rotary_emb.cos_cached", {1, 1, 1, 1, 0.54f, 1, 0.54f, 1},
      {1, 1, 2, 4});
  EXPECT_TRUE(Open()->Check(table_).ok());
  EXPECT_THAT(
      Open()->PassedOver(),
      testing::ElementsAre(layer + "inv_freq", "model.rotary_emb.cos_cached"));
  const absl::Status status = CheckSpareTensors(*Open(), SmallModel());
  EXPECT_TRUE(status.ok()) << status;
  const auto refused = [&] {
    return std::string(CheckSpareTensors(*Open(), SmallModel()).message());
  };
  add("model.rotary_emb.sin_cached", {0, 0, 0.84f, 0.001f}, {2, 2});
  EXPECT_EQ(refused(), "");
  tensors.pop_back();
  add("model.rotary_emb.sin_cached", {0, 0, 0.84f, 0.1f}, {2, 2});
  EXPECT_THAT(refused(),
              HasSubstr("model.rotary_emb.sin_cached holds 0.1 at "
                        "element 3, rope_theta (1e+06) gives 0.001"));
  // The second of two shares sees it, the first does not.
  EXPECT_TRUE(CheckWeightValues(*Open(), SmallModel(), 0, 2).ok());
  EXPECT_FALSE(CheckWeightValues(*Open(), SmallModel(), 1, 2).ok());
  tensors.pop_back();
  add("model.rotary_emb.sin_cached", {0, 0, 0}, {1, 3});
  EXPECT_THAT(refused(), HasSubstr("has 3 columns, must have 4"));
  tensors.pop_back();
  add("model.rotary_emb.inv_freq", {1, 0.01f});
  EXPECT_THAT(std::string(CheckSpareTensors(*Open(), SmallModel()).message()),
              HasSubstr("model.rotary_emb.inv_freq holds 0.01 at element 1, "
                        "rope_theta (1e+06) gives 0.001"));
  tensors.pop_back();
  add("model.rotary_emb.original_inv_freq", {1});
  EXPECT_FALSE(Open()->Check(table_).ok()) << "no name that we know";
}

TEST_F(WeightsLoaderTest, ValuesThatAreNotFiniteAreNamed) {
  const std::string name = "model.layers.1.block_sparse_moe.gate.weight";
  for (const float value : {std::numeric_limits<float>::quiet_NaN(),
                            -std::numeric_limits<float>::infinity()}) {
    Tensors tensors = Classic();
    for (auto& [tensor, values] : tensors)
      if (tensor.name == name) values[20] = value;
    WriteFile(kSingleWeightsFile, tensors);
    const auto loader = Open();
    EXPECT_TRUE(CheckWeightValues(*loader, SmallModel(), 0, 2).ok());
    const absl::Status status = CheckWeightValues(*loader, SmallModel(), 1, 2);
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_THAT(std::string(status.message()),
                HasSubstr(absl::StrCat(name,
                                       " holds values that are not finite, "
                                       "the first (",
                                       value, ") at element 20")));
  }
}

TEST_F(WeightsLoaderTest, MissingTensorsAreNamed) {
  Tensors tensors = Classic();
  tensors.erase(tensors.begin());
  ExpectCheckFails(tensors, "missing model.embed_tokens.weight");
}

TEST_F(WeightsLoaderTest, UnexpectedTensorsAreNamed) {
  Tensors tensors = Classic();
  StoredTensor extra;
  extra.name = "model.extra.bias";
  extra.shape = {1};
  tensors.emplace_back(extra, std::vector<float>{0});
  ExpectCheckFails(tensors, "not of this model model.extra.bias");
}

TEST_F(WeightsLoaderTest, MisshapenTensorsAreNamedWithBothShapes) {
  Tensors tensors = Classic();
  tensors[0].first.shape = {8, 10};
  ExpectCheckFails(tensors,
                   "model.embed_tokens.weight (F32 [8, 10], must be F32, BF16 "
                   "or F16 [10, 8])");
}

TEST_F(WeightsLoaderTest, ManyComplaintsAreShortened) {
  ExpectCheckFails({}, "and 37 more");
}

TEST_F(WeightsLoaderTest, AStackOfAnotherRankIsRefused) {
  StoredTensor stack;
  stack.name = "model.layers.0.mlp.experts.gate_up_proj";
  stack.shape = {4, 4};
  WriteFile(kSingleWeightsFile, {{stack, std::vector<float>(16)}});
  ExpectOpenFails(absl::StatusCode::kFailedPrecondition, "has shape [4, 4]");
}

TEST_F(WeightsLoaderTest, ATensorUnderBothNamesIsRefused) {
  Tensors tensors = Classic();
  for (const auto& tensor : Stacked())
    if (tensor.first.name == "model.layers.0.mlp.gate.weight")
      tensors.push_back(tensor);
  WriteFile(kSingleWeightsFile, tensors);
  ExpectOpenFails(
      absl::StatusCode::kDataLoss,
      "model.layers.0.block_sparse_moe.gate.weight is stored twice");
}

TEST_F(WeightsLoaderTest, ADirectoryWithoutWeightsIsNotFound) {
  ExpectOpenFails(absl::StatusCode::kNotFound,
                  "neither model.safetensors nor model.safetensors.index.json");
}

TEST_F(WeightsLoaderTest, ADamagedFileIsNamed) {
  WriteText(kSingleWeightsFile, "no tensors");
  ExpectOpenFails(absl::StatusCode::kDataLoss,
                  JoinPath(directory_, kSingleWeightsFile));
}

}  // namespace
}  // namespace moe

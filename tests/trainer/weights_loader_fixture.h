#ifndef TESTS_TRAINER_WEIGHTS_LOADER_FIXTURE_H_
#define TESTS_TRAINER_WEIGHTS_LOADER_FIXTURE_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/checkpoint/store/weights_loader.h"

namespace moe {

inline constexpr int kExperts = 4;

inline ModelConfig SmallModel() {
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
inline float ValueOf(size_t index, int64_t element) {
  return static_cast<float>((static_cast<int64_t>(index) * 7 + element) % 127);
}

using Tensors = std::vector<std::pair<StoredTensor, std::vector<float>>>;

inline std::string ToBytes(const std::vector<float>& values,
                           StoredDType dtype) {
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
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(message));
  }

  void ExpectCheckFails(const Tensors& tensors, const std::string& message) {
    WriteFile(kSingleWeightsFile, tensors);
    const absl::Status status = Open()->Check(table_);
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(message));
  }

  FileSystem& files_ = PosixFileSystem();
  const Mesh mesh_;
  const ParameterTable table_;
  const std::string directory_;
};

}  // namespace moe

#endif  // TESTS_TRAINER_WEIGHTS_LOADER_FIXTURE_H_

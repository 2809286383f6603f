#include "trainer/checkpoint/store/weights_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "trainer/checkpoint/format/weights_index.h"

namespace moe {
namespace {

ModelConfig SmallModel() {
  ModelConfig model;
  model.set_vocab_size(64);
  model.set_hidden_size(16);
  model.set_intermediate_size(24);
  model.set_num_hidden_layers(2);
  model.set_num_attention_heads(4);
  model.set_num_key_value_heads(2);
  model.set_num_local_experts(8);
  return model;
}

ParameterTable TableOf(const Mesh& mesh, int rank) {
  return ParameterTable(SmallModel(), DType::kFloat32, mesh, rank);
}

int64_t FileBytes(const ParameterTable& table, const WeightsFile& file) {
  int64_t bytes = 0;
  for (int index : file.parameters)
    bytes += 4 * table.parameters()[static_cast<size_t>(index)].size;
  return bytes;
}

// What any plan must be: every tensor once, by name, with a rank that has it.
void ExpectSound(const WeightsPlan& plan, const ParameterTable& table,
                 const Mesh& mesh) {
  std::multiset<int> written;
  for (size_t f = 0; f < plan.files.size(); ++f) {
    const WeightsFile& file = plan.files[f];
    ASSERT_FALSE(file.parameters.empty()) << file.name;
    const ParameterTable theirs = TableOf(mesh, file.rank);
    std::string last;
    for (int index : file.parameters) {
      const size_t i = static_cast<size_t>(index);
      written.insert(index);
      EXPECT_TRUE(theirs.parameters()[i].local);
      EXPECT_EQ(plan.file_of_parameter[i], static_cast<int>(f));
      EXPECT_LT(last, table.parameters()[i].name);
      last = table.parameters()[i].name;
    }
  }
  EXPECT_EQ(written.size(), table.parameters().size());
  EXPECT_EQ(std::set<int>(written.begin(), written.end()).size(),
            written.size());
}

class WeightsPlans : public testing::TestWithParam<std::pair<int, int>> {};

TEST_P(WeightsPlans, EveryTensorHasOneWriterThatHoldsIt) {
  const auto [world, expert] = GetParam();
  const Mesh mesh = *Mesh::Create(world, 1, expert, 8);
  for (int64_t min_file_bytes :
       {int64_t{1}, int64_t{1} << 14, int64_t{1} << 40}) {
    const ParameterTable table = TableOf(mesh, 0);
    const WeightsPlan plan =
        PlanWeights(table, mesh, {.min_file_bytes = min_file_bytes});
    ExpectSound(plan, table, mesh);
    for (int rank = 1; rank < world; ++rank) {
      const WeightsPlan theirs = PlanWeights(
          TableOf(mesh, rank), mesh, {.min_file_bytes = min_file_bytes});
      EXPECT_EQ(theirs.file_of_parameter, plan.file_of_parameter);
      EXPECT_EQ(theirs.order, plan.order);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Layouts, WeightsPlans,
                         testing::Values(std::pair(1, 1), std::pair(3, 1),
                                         std::pair(4, 2), std::pair(16, 8),
                                         std::pair(16, 1)));

TEST(WeightsPlan, ASmallModelMakesOneFileForEachOfTheExpertsRanks) {
  const Mesh mesh = *Mesh::Create(16, 1, 4, 8);
  const WeightsPlan plan = PlanWeights(TableOf(mesh, 0), mesh);
  ASSERT_EQ(plan.files.size(), 4u);
  EXPECT_EQ(plan.files[0].name, "model-00001-of-00004.safetensors");
  EXPECT_EQ(plan.files[3].name, "model-00004-of-00004.safetensors");
  EXPECT_EQ(plan.files[3].rank, 3);
}

TEST(WeightsPlan, ASmallModelWithoutExpertGroupsMakesOneFile) {
  const Mesh mesh = *Mesh::Create(16, 1, 1, 8);
  EXPECT_EQ(PlanWeights(TableOf(mesh, 0), mesh).files.size(), 1u);
}

TEST(WeightsPlan, BytesAreSpreadEvenly) {
  const Mesh mesh = *Mesh::Create(16, 1, 4, 8);
  const ParameterTable table = TableOf(mesh, 0);
  const WeightsPlan plan = PlanWeights(table, mesh, {.min_file_bytes = 1});
  ASSERT_EQ(plan.files.size(), 16u);
  int64_t largest = 0;
  for (const WeightsFile& file : plan.files)
    largest = std::max(largest, FileBytes(table, file));
  int64_t largest_tensor = 0;
  for (const Parameter& parameter : table.parameters())
    largest_tensor = std::max(largest_tensor, 4 * parameter.size);
  EXPECT_LE(largest, plan.total_bytes / 16 + largest_tensor);
}

TEST(WeightsPlan, ARankWithNothingToWriteHasNoFile) {
  const Mesh mesh = *Mesh::Create(128, 1, 1, 8);
  const ParameterTable table = TableOf(mesh, 0);
  const WeightsPlan plan = PlanWeights(table, mesh, {.min_file_bytes = 1});
  ExpectSound(plan, table, mesh);
  EXPECT_LT(plan.files.size(), 128u);
  EXPECT_EQ(plan.files.size(), table.parameters().size());
}

TEST(WeightsPlan, FilesAreCutAtTheirLargestSize) {
  const Mesh mesh = *Mesh::Create(1, 1, 1, 8);
  const ParameterTable table = TableOf(mesh, 0);
  const int64_t limit = 10000;
  const WeightsPlan plan = PlanWeights(table, mesh, {.max_file_bytes = limit});
  ExpectSound(plan, table, mesh);
  EXPECT_GT(plan.files.size(), 5u);
  for (const WeightsFile& file : plan.files)
    EXPECT_LE(FileBytes(table, file), limit);
}

TEST(WeightsPlan, TheIndexNamesEveryTensorAndTheirSize) {
  const Mesh mesh = *Mesh::Create(4, 1, 4, 8);
  const ParameterTable table = TableOf(mesh, 0);
  const WeightsPlan plan = PlanWeights(table, mesh);
  const std::string json = WeightsIndexJson(plan, table);
  const auto index = ParseWeightsIndex(json);
  ASSERT_TRUE(index.ok()) << index.status();
  EXPECT_EQ(index->size(), table.parameters().size());
  for (const WeightsFile& file : plan.files)
    for (int i : file.parameters)
      EXPECT_EQ(index->at(table.parameters()[static_cast<size_t>(i)].name),
                file.name);
  int64_t bytes = 0;
  for (const Parameter& parameter : table.parameters())
    bytes += 4 * parameter.size;
  EXPECT_EQ(nlohmann::json::parse(json)["metadata"]["total_size"], bytes);
}

TEST(WeightsIndex, OtherKeysAreLetPass) {
  const auto index = ParseWeightsIndex(
      R"({"a": [1, {"weight_map": {"x": 5}}], "b": null,
          "weight_map": {"t": "f"}, "c": {"d": -1.5}})");
  ASSERT_TRUE(index.ok()) << index.status();
  EXPECT_EQ(*index, (std::map<std::string, std::string>{{"t", "f"}}));
}

TEST(WeightsIndex, DamagedOnesAreRefused) {
  for (const char* json :
       {"", "[]", "7", "{}", "{\"weight_map\": 5}", "{\"weight_map\": []}",
        "{\"weight_map\": {\"t\": 5}}", "{\"weight_map\": {\"t\": {}}}",
        "{\"weight_map\": {\"t\": null}}",
        "{\"weight_map\": {\"t\": \"f\", \"t\": \"f\"}}",
        "{\"weight_map\": {}, \"weight_map\": {}}",
        "{\"weight_map\": {\"t\": \"../f\"}}",
        "{\"weight_map\": {\"t\": \"a\\u0000b\"}}",
        "{\"weight_map\": {\"t\": \"..\"}}", "{\"weight_map\": {\"t\": \"\"}}",
        "{\"weight_map\": {\"t\": \"/etc/f\"}}"})
    EXPECT_EQ(ParseWeightsIndex(json).status().code(),
              absl::StatusCode::kDataLoss)
        << json;
}

}  // namespace
}  // namespace moe

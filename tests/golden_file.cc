#include "tests/golden_file.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/match.h"
#include "comm/base/check.h"
#include "nlohmann/json.hpp"
#include "tests/test_device.h"

namespace moe {
namespace {

std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  CHECK(file.is_open());
  return std::string(std::istreambuf_iterator<char>(file), {});
}

template <typename T>
std::vector<double> Widen(const char* data, size_t num_bytes) {
  std::vector<T> values(num_bytes / sizeof(T));
  std::memcpy(values.data(), data, num_bytes);
  return std::vector<double>(values.begin(), values.end());
}

}  // namespace

GoldenFile::GoldenFile(const std::string& name) {
  const std::string path = std::string(MOE_GOLDEN_DIRECTORY) + "/" + name;
  ReadTensors(path + ".safetensors");
  ReadConfig(path + ".json");
}

void GoldenFile::ReadTensors(const std::string& path) {
  const std::string file = ReadAll(path);
  uint64_t header_bytes = 0;  // little-endian, as this processor is
  CHECK(file.size() > sizeof(header_bytes));
  std::memcpy(&header_bytes, file.data(), sizeof(header_bytes));
  const size_t start = sizeof(header_bytes) + header_bytes;
  const nlohmann::json header =
      nlohmann::json::parse(file.substr(sizeof(header_bytes), header_bytes));
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    const size_t begin = entry["data_offsets"][0].get<size_t>();
    const size_t end = entry["data_offsets"][1].get<size_t>();
    CHECK(start + end <= file.size());
    const char* data = file.data() + start + begin;
    tensors_[name] = entry["dtype"] == "I32" ? Widen<int32_t>(data, end - begin)
                                             : Widen<float>(data, end - begin);
    shapes_[name] = entry["shape"].get<std::vector<int64_t>>();
  }
}

void GoldenFile::ReadConfig(const std::string& path) {
  const nlohmann::json config = nlohmann::json::parse(ReadAll(path))["config"];
  model_.set_vocab_size(config["vocab_size"]);
  model_.set_hidden_size(config["hidden_size"]);
  model_.set_intermediate_size(config["intermediate_size"]);
  model_.set_num_hidden_layers(config["num_hidden_layers"]);
  model_.set_num_attention_heads(config["num_attention_heads"]);
  model_.set_num_key_value_heads(config["num_key_value_heads"]);
  model_.set_head_dim(config["head_dim"]);
  model_.set_num_local_experts(config["num_local_experts"]);
  model_.set_num_experts_per_tok(config["num_experts_per_tok"]);
  model_.set_rope_theta(config["rope_theta"]);
  model_.set_rms_norm_eps(config["rms_norm_eps"]);
  model_.set_initializer_range(config["initializer_range"]);
  model_.set_tie_word_embeddings(config["tie_word_embeddings"]);
  router_.set_aux_loss_semantics(RouterConfig::HF_MIXTRAL);
  router_.set_aux_loss_scope(RouterConfig::MICRO_BATCH);
  router_.set_aux_loss_coefficient(config["router_aux_loss_coef"]);
}

const std::vector<double>& GoldenFile::operator[](
    const std::string& name) const {
  const auto found = tensors_.find(name);
  CHECK(found != tensors_.end());
  return found->second;
}

const std::vector<int64_t>& GoldenFile::Shape(const std::string& name) const {
  const auto found = shapes_.find(name);
  CHECK(found != shapes_.end());
  return found->second;
}

std::vector<int32_t> GoldenFile::Inputs(const std::string& name) const {
  return WithoutColumn(name, static_cast<size_t>(Shape(name).back()) - 1);
}

std::vector<int32_t> GoldenFile::Targets(const std::string& name) const {
  return WithoutColumn(name, 0);
}

std::vector<int32_t> GoldenFile::WithoutColumn(const std::string& name,
                                               size_t column) const {
  const std::vector<double>& ids = (*this)[name];
  const size_t columns = static_cast<size_t>(Shape(name).back());
  std::vector<int32_t> kept;
  for (size_t i = 0; i < ids.size(); ++i)
    if (i % columns != column) kept.push_back(static_cast<int32_t>(ids[i]));
  return kept;
}

NamedTensors GoldenFile::Below(const std::string& prefix) const {
  NamedTensors found;
  for (const auto& [name, values] : tensors_)
    if (absl::StartsWith(name, prefix))
      found[name.substr(prefix.size())] = values;
  return found;
}

void SetParameters(const NamedTensors& tensors, const ParameterTable& table,
                   const ParameterStorage& storage) {
  for (const Parameter& parameter : table.parameters()) {
    if (!parameter.local) continue;
    const auto found = tensors.find(parameter.name);
    CHECK(found != tensors.end());
    SetElements(storage.Get(parameter), SliceOf(parameter, found->second));
  }
}

std::vector<double> SliceOf(const Parameter& parameter,
                            const std::vector<double>& tensor) {
  CHECK(static_cast<int64_t>(tensor.size()) == parameter.size);
  const Slice& slice = parameter.slice;
  std::vector<double> values;
  for (int64_t row = 0; row < slice.num_rows; ++row) {
    const auto begin = tensor.begin() +
                       (slice.first_row + row) * parameter.num_columns() +
                       slice.first_column;
    values.insert(values.end(), begin, begin + slice.num_columns);
  }
  return values;
}

NamedTensors GetParameters(const ParameterTable& table,
                           const ParameterStorage& storage) {
  NamedTensors tensors;
  for (const Parameter& parameter : table.parameters()) {
    if (!parameter.local) continue;
    tensors[parameter.name] = Elements(storage.Get(parameter));
  }
  return tensors;
}

double RelativeDifference(const std::vector<double>& a,
                          const std::vector<double>& b) {
  CHECK(a.size() == b.size());
  double difference = 0;
  double norm = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  return std::sqrt(norm > 0 ? difference / norm : difference);
}

}  // namespace moe

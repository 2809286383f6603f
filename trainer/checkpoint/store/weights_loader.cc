#include "trainer/checkpoint/store/weights_loader.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "comm/base/check.h"
#include "comm/base/status_macros.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/checkpoint/format/weights_index.h"
#include "trainer/config/some_of.h"

namespace moe {
namespace {

// Names of an index that real models stay far below.
constexpr int64_t kMaxIndexBytes = int64_t{16} << 20;
// Elements converted at a time, so that they stay in the cache.
constexpr int64_t kPieceElements = 1 << 16;
// Of a complaint about many tensors.
constexpr size_t kShownNames = 4;

bool IsFloat(StoredDType dtype) {
  return dtype == StoredDType::kF32 || dtype == StoredDType::kBF16 ||
         dtype == StoredDType::kF16;
}

bool IsSpareBuffer(absl::string_view name) {
  return absl::EndsWith(name, kFrequenciesEnd) ||
         absl::EndsWith(name, kCosinesEnd) || absl::EndsWith(name, kSinesEnd);
}

std::string ShapeText(absl::Span<const uint64_t> shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

// Converts this rank's slice of `parameter` into the arena piece by piece.
template <typename T>
absl::Status LoadInto(DeviceContext& context, const Tensor& out,
                      const WeightsLoader& loader, const Parameter& parameter) {
  const int64_t size = parameter.slice.size();
  std::vector<float> piece(static_cast<size_t>(std::min(size, kPieceElements)));
  std::vector<T> rounded(piece.size());
  absl::Status status;
  for (int64_t begin = 0; begin < size; begin += kPieceElements) {
    const int64_t count = std::min(kPieceElements, size - begin);
    ForEachRun(
        parameter.slice, parameter.num_columns(), begin, count,
        [&](int64_t in_tensor, int64_t in_slice, int64_t num) {
          if (!status.ok()) return;
          const auto values = absl::MakeSpan(piece).subspan(
              static_cast<size_t>(in_slice - begin), static_cast<size_t>(num));
          status = loader.LoadParameter(parameter.name, in_tensor, values);
        });
    RETURN_IF_ERROR(status);
    std::transform(piece.begin(),
                   piece.begin() + static_cast<std::ptrdiff_t>(count),
                   rounded.begin(), FromFloat<T>);
    context.Upload(out.Rows(begin, count).raw(), rounded.data(),
                   count * SizeOf(DTypeOf<T>()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<WeightsLoader>> WeightsLoader::Open(
    FileSystem& files, const std::string& directory) {
  std::unique_ptr<WeightsLoader> loader(new WeightsLoader(directory));
  if (files.Exists(JoinPath(directory, kSingleWeightsFile))) {
    RETURN_IF_ERROR(loader->OpenFile(files, kSingleWeightsFile));
  } else if (files.Exists(JoinPath(directory, kWeightsIndexFile))) {
    RETURN_IF_ERROR(loader->OpenShards(files));
  } else {
    return absl::NotFoundError(
        absl::StrCat(directory, " holds no weights: neither ",
                     kSingleWeightsFile, " nor ", kWeightsIndexFile));
  }
  for (size_t i = 0; i < loader->files_.size(); ++i)
    for (const StoredTensor& tensor : loader->files_[i].tensors())
      RETURN_IF_ERROR(loader->AddTensor(i, tensor));
  return loader;
}

absl::Status WeightsLoader::OpenFile(FileSystem& files,
                                     const std::string& name) {
  ASSIGN_OR_RETURN(SafetensorsFile file,
                   SafetensorsFile::Open(files, JoinPath(directory_, name)));
  files_.push_back(std::move(file));
  return absl::OkStatus();
}

// The index and the files must name the same tensors.
absl::Status WeightsLoader::OpenShards(FileSystem& files) {
  const std::string path = JoinPath(directory_, kWeightsIndexFile);
  ASSIGN_OR_RETURN(const std::string json,
                   files.ReadFile(path, kMaxIndexBytes));
  auto file_of_tensor = ParseWeightsIndex(json);
  if (!file_of_tensor.ok()) return Annotate(file_of_tensor.status(), path);
  std::set<std::string> names;
  for (const auto& [tensor, name] : *file_of_tensor) names.insert(name);
  for (const std::string& name : names) {
    RETURN_IF_ERROR(OpenFile(files, name));
    for (const StoredTensor& tensor : files_.back().tensors()) {
      const auto found = file_of_tensor->find(tensor.name);
      if (found == file_of_tensor->end() || found->second != name) {
        return absl::DataLossError(absl::StrCat(files_.back().path(), " holds ",
                                                tensor.name, ", which ", path,
                                                " does not place there"));
      }
      file_of_tensor->erase(found);
    }
  }
  if (file_of_tensor->empty()) return absl::OkStatus();
  const auto& [tensor, name] = *file_of_tensor->begin();
  return absl::DataLossError(absl::StrCat(path, " places ", tensor, " in ",
                                          name, ", which does not hold it"));
}

absl::Status WeightsLoader::AddTensor(size_t file, const StoredTensor& tensor) {
  Slice slice{
      .file = file, .tensor = &tensor, .begin = 0, .shape = tensor.shape};
  const size_t mlp = tensor.name.find(".mlp.");
  if (mlp == std::string::npos) return AddSlice(tensor.name, slice);
  const std::string layer = tensor.name.substr(0, mlp);
  const std::string rest = tensor.name.substr(mlp);
  if (rest == ".mlp.gate.weight")
    return AddSlice(absl::StrCat(layer, ".block_sparse_moe.gate.weight"),
                    slice);
  const bool gate_up = rest == ".mlp.experts.gate_up_proj";
  if (gate_up || rest == ".mlp.experts.down_proj")
    return AddStacked(layer, gate_up, slice);
  return AddSlice(tensor.name, slice);
}

absl::Status WeightsLoader::AddSlice(std::string name, Slice slice) {
  const auto [at, added] = slices_.emplace(std::move(name), std::move(slice));
  if (added) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat(at->first, " is stored twice in ", directory_));
}

// Takes a stack of an expert layer's matrices apart.
absl::Status WeightsLoader::AddStacked(absl::string_view layer, bool gate_up,
                                       Slice whole) {
  const std::vector<uint64_t> shape = whole.shape;
  if (shape.size() != 3 || (gate_up && shape[1] % 2 != 0)) {
    return absl::FailedPreconditionError(absl::StrCat(
        whole.tensor->name, " has shape ", ShapeText(shape), ", must be ",
        gate_up ? "[experts, 2 intermediate_size, hidden_size]"
                : "[experts, hidden_size, intermediate_size]"));
  }
  const std::vector<const char*> names =
      gate_up ? std::vector<const char*>{"w1", "w3"}
              : std::vector<const char*>{"w2"};
  const uint64_t rows = shape[1] / names.size();
  Slice slice = std::move(whole);
  slice.shape = {rows, shape[2]};
  for (uint64_t expert = 0; expert < shape[0]; ++expert) {
    for (const char* name : names) {
      RETURN_IF_ERROR(AddSlice(absl::StrCat(layer, ".block_sparse_moe.experts.",
                                            expert, ".", name, ".weight"),
                               slice));
      slice.begin += static_cast<int64_t>(rows * shape[2]);
    }
  }
  return absl::OkStatus();
}

std::vector<WeightsLoader::Entry> WeightsLoader::Entries() const {
  std::vector<Entry> entries;
  for (const auto& [name, slice] : slices_)
    entries.push_back({name, slice.tensor->dtype, slice.shape});
  return entries;
}

absl::Status WeightsLoader::Check(const ParameterTable& table) const {
  std::vector<std::string> missing, misshapen, unexpected;
  std::set<std::string> known;
  const auto look = [&](const std::string& name, const Parameter& parameter) {
    known.insert(name);
    const auto found = slices_.find(name);
    if (found == slices_.end()) {
      missing.push_back(name);
      return;
    }
    const Slice& slice = found->second;
    const std::vector<uint64_t> shape(parameter.shape.begin(),
                                      parameter.shape.end());
    if (slice.shape != shape || !IsFloat(slice.tensor->dtype)) {
      misshapen.push_back(absl::StrCat(
          name, " (", Name(slice.tensor->dtype), " ", ShapeText(slice.shape),
          ", must be F32, BF16 or F16 ", ShapeText(shape), ")"));
    }
  };
  for (const Parameter& parameter : table.parameters())
    look(parameter.name, parameter);
  if (HasSpareHead(table)) {
    const auto embedding = static_cast<size_t>(table.Find(kEmbeddingName));
    look(kHeadName, table.parameters()[embedding]);
  }
  for (const auto& [name, slice] : slices_)
    if (known.count(name) == 0 && !IsSpareBuffer(name))
      unexpected.push_back(name);

  std::vector<std::string> complaints;
  auto complain = [&](absl::string_view what,
                      const std::vector<std::string>& names) {
    if (!names.empty())
      complaints.push_back(absl::StrCat(what, " ", SomeOf(names, kShownNames)));
  };
  complain("missing", missing);
  complain("of another shape or type", misshapen);
  complain("not of this model", unexpected);
  if (complaints.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(directory_, ": tensors ", absl::StrJoin(complaints, "; ")));
}

std::vector<std::string> WeightsLoader::PassedOver() const {
  std::vector<std::string> names;
  for (const auto& [name, slice] : slices_)
    if (IsSpareBuffer(name)) names.push_back(name);
  return names;
}

const std::vector<uint64_t>& WeightsLoader::ShapeOf(
    absl::string_view name) const {
  const auto found = slices_.find(name);
  CHECK(found != slices_.end());
  return found->second.shape;
}

int64_t WeightsLoader::NumElements(absl::string_view name) const {
  int64_t elements = 1;
  for (const uint64_t dim : ShapeOf(name))
    elements *= static_cast<int64_t>(dim);
  return elements;
}

bool WeightsLoader::HasSpareHead(const ParameterTable& table) const {
  return table.Find(kHeadName) < 0 && slices_.contains(kHeadName);
}

absl::Status WeightsLoader::LoadParameter(absl::string_view name, int64_t begin,
                                          absl::Span<float> out) const {
  const auto found = slices_.find(name);
  CHECK(found != slices_.end());
  const Slice& slice = found->second;
  return files_[slice.file].ReadFloats(*slice.tensor, slice.begin + begin, out);
}

absl::Status LoadWeights(const WeightsLoader& loader,
                         const ParameterTable& table,
                         const ParameterStorage& storage,
                         DeviceContext& context) {
  RETURN_IF_ERROR(loader.Check(table));
  for (const Parameter& parameter : table.parameters()) {
    if (!parameter.local) continue;
    const Tensor arena = storage.arena(parameter.arena);
    const Tensor part = arena.Rows(parameter.offset, parameter.slice.size());
    RETURN_IF_ERROR(part.dtype() == DType::kBFloat16
                        ? LoadInto<BFloat16>(context, part, loader, parameter)
                        : LoadInto<float>(context, part, loader, parameter));
  }
  return absl::OkStatus();
}

}  // namespace moe

//! `meta` of a response with costs (RFC 7285 sections 11.2.3.6 and 11.5.1.6; several cost types: RFC 8189 section 4.1.3).
use crate::{
    ErrorBody,
    cost::CostType,
    id::VersionTag,
    json::{self, Path, Reader},
    matrix::Cells,
};

/// What `meta` says of the costs. Invariant: `cost_types` is not empty, and of one unless `multi`.
pub(crate) struct CostMeta {
    pub dependent_vtags: Option<Vec<VersionTag>>,
    pub vtag: Option<VersionTag>,
    pub cost_types: Vec<CostType>,
    pub multi: bool,
}

impl CostMeta {
    pub(crate) fn read(reader: &mut Reader<'_>, path: &Path<'_>) -> Result<Self, ErrorBody> {
        let (mut dependent_vtags, mut vtag, mut single, mut multi) = (None, None, None, None);
        reader.object(path, |reader, key| {
            let path = path.child(key);
            match &**key {
                "dependent-vtags" => dependent_vtags = Some(VersionTag::read_list(reader, &path)?),
                "vtag" => vtag = Some(VersionTag::read(reader, &path)?),
                // What is wrong with it matters only where "multi-cost-types" does not make us ignore it (RFC 8189 section 4.1.3).
                "cost-type" => {
                    let at = reader.offset();
                    reader.skip()?;
                    let end = reader.offset();
                    reader.seek(at);
                    single = Some(CostType::read(reader, &path));
                    reader.seek(end);
                }
                "multi-cost-types" => multi = Some(CostType::read_list(reader, &path, CostType::read)?),
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        let (cost_types, multi) = match (multi, single) {
            (Some(cost_types), _) => (cost_types, true),
            (None, Some(cost_type)) => (vec![cost_type?], false),
            (None, None) => return Err(path.missing("cost-type")),
        };
        Ok(Self { dependent_vtags, vtag, cost_types, multi })
    }

    /// A cost map depends on exactly one network map ("a single-element array", section 11.2.3.6); a draft may leave open which.
    pub(crate) fn with_network_map(self, reader: &Reader<'_>, path: &Path<'_>, draft: bool) -> Result<Self, ErrorBody> {
        let name = "dependent-vtags";
        match self.dependent_vtags.as_deref() {
            Some([_]) => Ok(self),
            None if draft => Ok(self),
            None => Err(path.missing(name)),
            Some(several) => {
                let mut text = Vec::new();
                VersionTag::write_list(&mut text, several);
                Err(path.child(name).invalid(&String::from_utf8_lossy(&text), reader.limits))
            }
        }
    }

    pub(crate) fn cells(&self) -> Cells<'_> {
        Cells { cost_types: &self.cost_types, multi: self.multi }
    }

    pub(crate) fn write(
        out: &mut Vec<u8>,
        dependent_vtags: Option<&[VersionTag]>,
        vtag: Option<&VersionTag>,
        cost_types: &[&CostType],
        multi: bool,
    ) {
        let mut meta = json::Object::new(out);
        if let Some(list) = dependent_vtags {
            VersionTag::write_list(meta.key("dependent-vtags"), list);
        }
        if let Some(vtag) = vtag {
            vtag.write(meta.key("vtag"));
        }
        match cost_types {
            [cost_type] if !multi => cost_type.write(meta.key("cost-type")),
            _ => {
                // Legacy clients find the member they need, with nothing in it.
                meta.key("cost-type").extend_from_slice(b"{}");
                json::array(meta.key("multi-cost-types"), cost_types, |out, cost_type| cost_type.write(out));
            }
        }
        meta.end();
    }
}
